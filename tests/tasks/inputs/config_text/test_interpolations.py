import json

import pytest
from omegaconf import OmegaConf

from clipes.tasks.inputs.config_text.interpolations import check_interpolations, resolve_interpolations
from clipes.tasks.inputs.configs import load_config
from clipes_core.errors import ConfigError

CONFIG = "name: mine\ndataset: {format: list, split: /a.csv}\n"


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return a function that loads a config with overrides, while some environment variables are set."""
    monkeypatch.setenv("CLIPES_DATA", "/data")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("CLIPES_URI", "https://me:hunter2@host/a")
    (tmp_path / "run.yaml").write_text(CONFIG)
    return lambda *overrides, **given: load_config(str(tmp_path / "run.yaml"), overrides, given)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/x/${name}", "/x/mine"),
        ("${dataset.format}", "{here}/list"),
        ("${oc.env:CLIPES_DATA}/a", "/data/a"),
        ("${oc.env:HOME}/a", "/home/me/a"),
        ("${oc.env:CLIPES_NONE,/else}", "/else"),
    ],
)
def test_keys_and_harmless_variables_are_interpolated(load, monkeypatch, tmp_path, value, expected):
    monkeypatch.chdir(tmp_path)
    expected = expected.replace("{here}", str(tmp_path))
    assert load(f"store={value}").store == expected
    assert load(store=value).store == expected


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:AWS_SECRET_ACCESS_KEY}",
        "${oc.env:${name}}",
        "${oc.env:CLIPES_NONE,${oc.env:AWS_SECRET_ACCESS_KEY}}",
        "${oc.decode:'${oc.env:AWS_SECRET_ACCESS_KEY}'}",
        "${oc.decode:'{a: 1}'}",
        "${oc.create:{a: 1}}",
        "${oc.select:name}",
        "${oc.dict.keys:dataset}",
        "${ oc.env : AWS_SECRET_ACCESS_KEY }",
        "${${name}:AWS_SECRET_ACCESS_KEY}",
        "\\${name}${oc.env:AWS_SECRET_ACCESS_KEY}",
        "${own.resolver:a}",
        "${name",
        "${}",
        "${oc.env:HOME,}",
    ],
)
@pytest.mark.parametrize("key", ["name", "store", "cam.power", "cam.scales", "nowhere"])
def test_other_interpolations_are_refused_without_a_value(load, key, value):
    OmegaConf.register_resolver("own.resolver", lambda name: "hunter2", replace=True)
    try:
        with pytest.raises(ConfigError, match=rf"^{key}: its interpolation is not permitted; a config may") as caught:
            load(f"{key}={json.dumps(value)}")  # in quotes, because some values contain YAML syntax
    finally:
        OmegaConf.clear_resolver("own.resolver")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("name", "${nope}", "its interpolation names a key that the config does not set; a config may use ${KEY}"),
        ("name", "${dataset.root}", "its interpolation names a key that the config does not set; a config may"),
        ("name", "${..x}", "its interpolation names a key that the config does not set; a config may"),
        ("name", "${name}", "its interpolation cannot be resolved, for example because it refers to itself; a config"),
        ("name", "${dataset.format.x}", "its interpolation cannot be resolved, for example because it refers to"),
        ("name", "${a[}", "its interpolation cannot be read; a config may use ${KEY}"),
        (
            "cam.power",
            "${oc.env:CLIPES_NONE}",
            "the environment variable CLIPES_NONE is not set; set it, or write ${oc",
        ),
    ],
)
def test_an_interpolation_that_cannot_be_resolved_is_named_in_one_line(load, tmp_path, key, value, fault):
    with pytest.raises(ConfigError) as caught:
        load(f"{key}={value}")
    assert str(caught.value).startswith(f"{key}: {fault}")
    text = f"{key.replace('.', ': {')}: '{value}'{'}' * key.count('.')}\n"
    (tmp_path / "broken.yaml").write_text(CONFIG.replace("name: mine\n", "") + text)
    with pytest.raises(ConfigError) as in_file:
        load_config(str(tmp_path / "broken.yaml"))
    assert str(in_file.value) == str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"a": "${b}", "b": "${nope}"}, ["b"]),
        ({"a": "${b}", "b": "${c.d}", "c": {"d": "x${nope}"}}, ["c.d"]),
        ({"a": "${b.c}", "b": {"c": "${.d}", "d": "${nope}"}}, ["b.d"]),
        ({"a": "${b.c}", "b": {"c": "${..d}"}, "d": "${.nope}"}, ["d"]),
        ({"a": "${b[1]}", "b": ["x", "${nope}"]}, ["b.1"]),
        ({"a": "${b}", "bc": "${nope}", "b": "${nope}"}, ["b", "bc"]),
        ({"a": "${b}", "b": "${c}", "c": "x", "d": "${e}", "e": "${nope}"}, ["e"]),
        ({"a": "${b} ${nope}", "b": "x"}, ["a"]),
        ({"a": "${b}", "b": "${a}"}, ["a"]),
        ({"a": "${b.c}", "b": "${nope}"}, ["b"]),
    ],
)
def test_the_key_with_the_error_is_named_not_one_that_refers_to_it(values, named):
    with pytest.raises(ConfigError) as caught:
        resolve_interpolations(values)
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == named


def test_every_refused_key_is_reported():
    with pytest.raises(ConfigError) as caught:
        check_interpolations({"b": [{"c": "${oc.env:A}"}], "a": "${oc.env:A}", "d": 1, "e": None, "f": "${a}"})
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["a", "b.0.c"]


def test_a_password_in_a_harmless_variable_is_refused(load):
    with pytest.raises(ConfigError, match=r"^store: the URI may contain a password or token") as caught:
        load("store=${oc.env:CLIPES_URI}")
    assert "hunter2" not in str(caught.value)
