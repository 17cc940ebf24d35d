"""Runs of a few tiny photos, whose masks the tests export."""

import pytest
from support.exported_runs import MasksRun, odd_masks, write_masks_run
from support.prepared import prepare_run
from support.report_runs import store_and_name, write_run_files
from support.small_runs import make_run


@pytest.fixture
def run_of(tiny, pool):
    """Return a function that runs and records the added photos; the photos in `lost` are deleted after listing."""

    def run_of(until="masks", lost=(), **sections):
        run = prepare_run(tiny.config(**sections), until)
        for name in lost:
            (tiny.folder / f"{name}.png").unlink()
        return store_and_name(write_run_files(make_run(run, pool)))

    return run_of


@pytest.fixture(scope="session")
def odd_run(tmp_path_factory) -> MasksRun:
    """Return a completed run with masks that a format may get wrong."""
    return write_masks_run(tmp_path_factory.mktemp("odd"), odd_masks())
