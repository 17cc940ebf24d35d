"""The notebook in the documentation, whose cells run as they are printed."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[3]
NOTEBOOK = ROOT / "docs" / "python.ipynb"
MOST_BYTES = 600_000


def kinds(cell):
    """Return the kinds of content that a cell displays."""
    shown = [output for output in cell.outputs if output.output_type in ("display_data", "execute_result")]
    return sorted({kind for output in shown for kind in output.data})


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_has_been_executed_without_errors_and_is_small():
    cells = code_cells(nbformat.read(NOTEBOOK, as_version=4))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert sum("image/png" in kinds(cell) for cell in cells) >= 3
    assert NOTEBOOK.stat().st_size < MOST_BYTES


@pytest.mark.slow
def test_the_cells_of_the_notebook_show_what_is_printed(tmp_path, server_environment, monkeypatch):
    for name, value in {**server_environment, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}.items():
        monkeypatch.setenv(name, value)
    printed = nbformat.read(NOTEBOOK, as_version=4)
    notebook = nbformat.read(NOTEBOOK, as_version=4)

    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()

    assert [kinds(cell) for cell in code_cells(notebook)] == [kinds(cell) for cell in code_cells(printed)]
