"""Grids from the text of their files."""

import pytest

from clipes.tasks.ablation.grid_file import load_grid


@pytest.fixture
def grid_of(tmp_path):
    """Return a function that writes a text to mine.yaml in `tmp_path`, and reads it as a grid."""

    def grid_of(text):
        file = tmp_path / "mine.yaml"
        file.write_text(text)
        return load_grid(str(file))

    return grid_of
