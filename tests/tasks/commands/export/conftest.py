"""Runs of a few tiny photos, whose masks are exported."""

import pytest
from support.prepared import prepare_run
from support.report_runs import store_and_name, write_down
from support.small_runs import make_run


@pytest.fixture
def run_of(tiny, pool):
    """Make and record a run of the added photos; the files of `lost` vanish between listing and CAMs."""

    def run_of(until="masks", lost=(), **sections):
        run = prepare_run(tiny.config(**sections), until)
        for name in lost:
            (tiny.folder / f"{name}.png").unlink()
        return store_and_name(write_down(make_run(run, pool)))

    return run_of
