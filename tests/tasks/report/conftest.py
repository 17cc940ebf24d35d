"""Reports of runs of a few tiny photos, and reports of scenes in a browser."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.browser import open_browser, opened
from support.prepared import prepare_run
from support.report_runs import report_of, write_run_files
from support.small_runs import make_run
from support.viewer_pages import PHONE, WIDE

from clipes.tasks.report.report_file import write_report
from clipes_core.config.run import parse_config


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


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(scenes_made):
    """Return the path of the report of nine scenes: six in the gallery, three in a file next to it."""
    config = scenes_made.run.config.model_dump(mode="json")
    values = {**config, "name": "viewer", "report": {"gallery": 6, "further": 3, "check": {"max_foreground": 0.0}}}
    made = replace(scenes_made, run=prepare_run(parse_config(values), "mask_scores"))
    return Path(write_report(write_run_files(made).config.store, "viewer"))


@pytest.fixture(scope="module")
def trained(scenes_trained):
    """Return the path of the report of nine scenes with a segmenter, which predicts the same scenes."""
    config = scenes_trained.run.config
    write_run_files(scenes_trained)
    return Path(write_report(config.store, config.name))


@pytest.fixture(params=[WIDE, PHONE])
def page(browser, report, request):
    with opened(browser, report, request.param) as page:
        yield page


@pytest.fixture
def wide(browser, report):
    with opened(browser, report, WIDE) as page:
        yield page
