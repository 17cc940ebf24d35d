"""Configs in an empty working directory."""

import pytest
from support.config_files import YAML

from clipes.tasks.inputs.configs import load_config


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return the empty folder in which the test runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load(here):
    """Return a function that writes a YAML text to a file and loads it with the given overrides."""

    def load(*overrides, text=YAML, given=None):
        (here / "run.yaml").write_text(text)
        return load_config("run.yaml", overrides, given)

    return load
