"""The notebook in the documentation, whose cells run as they are printed."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[3]
NOTEBOOK = ROOT / "docs" / "python.ipynb"
MOST_BYTES = 700_000


def pictures(cell):
    """Return the number of pictures that a cell displays."""
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_has_been_executed_without_errors_and_is_small():
    cells = code_cells(nbformat.read(NOTEBOOK, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert sum(map(pictures, cells)) >= 3
    assert NOTEBOOK.stat().st_size < MOST_BYTES


@pytest.mark.slow
def test_the_cells_of_the_notebook_show_what_is_printed(tmp_path, server_environment, monkeypatch):
    for name, value in {**server_environment, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}.items():
        monkeypatch.setenv(name, value)
    printed = nbformat.read(NOTEBOOK, as_version=4)
    notebook = nbformat.read(NOTEBOOK, as_version=4)

    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()

    assert [pictures(cell) for cell in code_cells(notebook)] == [pictures(cell) for cell in code_cells(printed)]
