import pytest
from typer.testing import CliRunner

from clipes.flows.cli import app
from clipes.tasks.commands import doctor
from clipes_core.errors import ConfigError

BAD = "s3:/bucket/x"
CALLS = [
    ("CONFIG", "run", BAD),
    ("--store", "run", "c.yaml", "--store", BAD),
    ("CONFIG", "prompts", BAD),
    ("--store", "prompts", "c.yaml", "--store", BAD),
    ("--templates", "prompts", "c.yaml", "--templates", BAD),
    ("--store", "status", "a", "--store", BAD),
    ("--store", "report", "a", "--store", BAD),
    ("--store", "export", "a", "--to", "b", "--store", BAD),
    ("--to", "export", "a", "--to", BAD),
    ("IMAGES", "predict", "a", "b.jpg", BAD, "--to", "b"),
    ("--to", "predict", "a", "b.jpg", "--to", BAD),
    ("--store", "predict", "a", "b.jpg", "--to", "b", "--store", BAD),
    ("--store", "gc", "--store", BAD),
    ("--store", "doctor", "--store", BAD),
    ("--pretrained", "doctor", "--pretrained", BAD),
]


@pytest.mark.parametrize(("option", "command", "arguments"), [(call[0], call[1], call[2:]) for call in CALLS])
def test_a_mistyped_uri_is_refused_in_every_argument_and_option_with_a_path(option, command, arguments):
    error = CliRunner().invoke(app, [command, *arguments]).exception
    assert isinstance(error, ConfigError)
    assert str(error).startswith(f"{option}: {BAD!r} is not a URI; write s3://bucket/x")


def test_an_invalid_model_is_a_config_error():
    error = CliRunner().invoke(app, ["doctor", "--model", ""]).exception
    assert str(error).startswith("clip.model: String should have at least 1 character")


@pytest.mark.parametrize("setting", ["kind=rai", "size=3"])
def test_doctor_checks_the_runner_before_it_examines_anything(setting, monkeypatch):
    monkeypatch.setattr(doctor, "examine", pytest.fail)
    error = CliRunner().invoke(app, ["doctor", "--set", f"execution.runner.{setting}"]).exception
    assert isinstance(error, ConfigError)
    assert str(error).startswith(f"execution.runner.{setting.partition('=')[0]}")


def test_the_home_folder_is_expanded_in_options(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("[]")
    error = CliRunner().invoke(app, ["run", "~/c.yaml"]).exception
    assert str(error) == f"{tmp_path}/c.yaml: expected keys and values, got a list"
