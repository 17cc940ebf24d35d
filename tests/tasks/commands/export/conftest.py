"""Runs of a few tiny photos, whose masks the tests export."""

import pytest
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
