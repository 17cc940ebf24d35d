"""Grids and ablations from the text of a grid's file."""

import pytest

from clipes.tasks.ablation.grid_file import load_grid
from clipes.tasks.ablation.variant_runs import ablation_config, variant_runs


@pytest.fixture
def grid_of(tmp_path):
    """Return a function that writes a text to mine.yaml in `tmp_path`, and reads it as a grid."""

    def grid_of(text):
        file = tmp_path / "mine.yaml"
        file.write_text(text)
        return load_grid(str(file))

    return grid_of


@pytest.fixture
def ablation(tmp_path, configs):
    """Return a function that reads a grid, and returns it with the common config and the runs of an ablation."""

    def read(text, *overrides, only=(), **given):
        (tmp_path / "my grid.yaml").write_text(text)
        grid = load_grid(str(tmp_path / "my grid.yaml"))
        given = {"store": str(tmp_path / "store"), **given}
        config = ablation_config(str(configs / "demo.yaml"), overrides, grid, given)
        return grid, config, variant_runs(config, grid, only)

    return read
