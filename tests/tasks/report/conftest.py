"""Reports of runs of a few tiny photos."""

import pytest
from support.prepared import prepare_run
from support.report_runs import report_of, write_run_files
from support.small_runs import make_run


@pytest.fixture
def reported(tiny, pool):
    """Return a function that runs the added photos, deletes files before or after it, and parses the report."""

    def reported(until="mask_scores", lost=(), lost_then=(), failure=None, without=(), **sections):
        run = prepare_run(tiny.config(**sections), until)
        for path in lost:
            path.unlink()
        write_run_files(make_run(run, pool), failure, without)
        for path in lost_then:
            path.unlink()
        return report_of(run)

    return reported
