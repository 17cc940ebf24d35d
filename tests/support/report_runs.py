"""Files of runs of a few photos, as the pipeline writes them, and their reports."""

from contextlib import suppress

import fsspec
from support.report_pages import Element, check_stands_alone, parsed

from clipes.tasks.report.report_file import write_report
from clipes.tasks.runs.record.recorder import record_run


def write_run_files(made, failure=None, without=(), start=record_run):
    """Write the files of a run whose shards are made, and return the run.

    Args:
        made: run with the records of its shards.
        failure: error that ends the run; None if the run completed.
        without: (stage, shard) of the shards that failed with this error.
        start: `report_run` to write the report too.
    """
    with suppress(() if failure is None else type(failure)), start(made.run) as record:
        for each in made.records.values():
            record.ledger.planned(each.stage, each.shard)
            record.ledger.started(each.stage, each.shard, 1)
            if (each.stage, each.shard) in without:
                record.ledger.failed(each.stage, each.shard, 1, failure)
            else:
                record.ledger.finished(each, 1)
        if failure is not None:
            raise failure
    return made.run


def report_of(run) -> Element:
    """Write the report of a run, and return the parsed page."""
    fs, path = fsspec.core.url_to_fs(write_report(run.config.store, run.config.name))
    page = parsed(fs.cat_file(path).decode())
    check_stands_alone(page)
    return page


def store_and_name(run):
    """Return the URI of a run's store and the run's name, which the commands take."""
    return run.config.store, run.config.name
