"""Runs that are started from Python."""

import os
import subprocess
import sys

import pytest
from support.small_runs import TinyPhotos

import clipes
from clipes_core.errors import ConfigError, StageError


@pytest.fixture
def tiny(tmp_path, large_scene, seeded_weights):
    tiny = TinyPhotos(tmp_path, large_scene, seeded_weights)
    tiny.add("a", "cat")
    tiny.add("b", "dog")
    return tiny


def test_mistakes_are_reported_before_anything_starts(tiny):
    with pytest.raises(ConfigError, match=r"^cam\.pover: unknown key"):
        clipes.run(tiny.config(), cam={"pover": 1})
    with pytest.raises(ConfigError, match="no such stage; the stages are"):
        clipes.run(tiny.config(), until="mask")
    with pytest.raises(ConfigError, match="there is no such config file"):
        clipes.run("missing.yaml")


@pytest.mark.slow
def test_a_run_from_a_dict_returns_its_results_and_reuses_them(tiny, server):
    values = tiny.config(name="first", train={"enabled": False}, execution={"shards": 1, "runner": {"kind": "inline"}})
    made = clipes.run(values.model_dump(exclude_unset=True), until="masks")
    assert (made.name, made.status, len(made)) == ("first", "completed", 2)
    assert made["a"].mask.shape == (48, 64)
    again = clipes.run(values, until="masks", name="again", crf={"enabled": False})
    assert again.name == "again"
    assert again.config.crf.enabled is False
    assert again.artifacts("cams") == made.artifacts("cams")
    assert again.artifacts("masks") != made.artifacts("masks")


@pytest.mark.slow
def test_a_failed_run_says_how_to_resume(tiny, server):
    tiny.add("c", "bird").write_bytes(b"no photo")
    config = tiny.config(train={"enabled": False}, execution={"shards": 1, "runner": {"kind": "inline"}})
    with pytest.raises(StageError, match=r"To resume, call clipes\.run again, without fresh$"):
        clipes.run(config, until="masks", execution={"max_failure_rate": 0})


SCRIPT = """
import clipes
run = clipes.run({values!r}, until="masks")
print(run.status, len(run))
"""


@pytest.mark.slow
def test_a_script_without_a_main_guard_runs_once(tiny, server_environment, tmp_path):
    """Run a script whose workers would start the run again if they imported the script."""
    values = tiny.config(name="script", train={"enabled": False}, execution={"shards": 1}).model_dump(
        mode="json", exclude_unset=True
    )
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(values=values))
    environment = {**os.environ, **server_environment}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "completed 2\n"
    assert "bootstrapping" not in done.stderr
