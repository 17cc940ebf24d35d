import logging
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from support.prepared import prepare_run
from support.report_pages import cards, notes, parsed, section, titles
from support.report_runs import report_of, write_run_files
from support.small_runs import make_run, run_files

from clipes.tasks.machine.processes import started_at
from clipes.tasks.report.report_file import report_run, write_report
from clipes.tasks.runs.record.start import start_run
from clipes.tasks.storage.files import write_file
from clipes.tasks.storage.layout import REPORT_FILE, claims_uri
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import read_run
from clipes_core.errors import ArtifactError, ClipesError, RunBusyError, StageError, UsageError


def test_broken_artifacts_are_reported_and_the_others_are_shown(tiny, reported, pool):
    for name in "abcdef":
        tiny.add(name)
    reported()
    run = prepare_run(tiny.config(), "mask_scores")
    Path(run_files(run).uri("report.html")).unlink()
    shutil.rmtree(tiny.folder / "store" / "artifacts" / "masks")
    page = report_of(run)
    assert "This report lacks the content of 1 file that could not be read." in notes(page)
    assert "is missing: run again; clipes will rebuild it" in notes(page)
    assert len(cards(page)) == 6
    assert "Pseudo mask" not in titles(page)


@pytest.mark.parametrize("lost", ["store/artifacts/masks/*/*.parquet", "?.png"])
def test_a_report_never_replaces_a_better_one(tiny, reported, lost):
    for name in "ab":
        tiny.add(name)
    reported()
    run = prepare_run(tiny.config(), "mask_scores")
    page = Path(run_files(run).uri("report.html"))
    better = page.read_bytes()
    for path in tiny.folder.glob(lost):
        path.unlink()

    with pytest.raises(ArtifactError, match=r"report\.html was not replaced, because .* the first of which is .+"):
        write_report(run.config.store, "tiny")
    assert page.read_bytes() == better


@pytest.fixture
def rerun(tiny, pool):
    """Return a function that runs the photos and returns the report's path. Cached artifacts are made again."""

    def rerun(until="mask_scores", **sections):
        made = make_run(prepare_run(tiny.config(**sections), until), pool)
        return Path(run_files(write_run_files(made, start=report_run)).uri("report.html"))

    return rerun


def sources(path):
    """Return the data URIs of the pictures on a page."""
    return [image.attributes["src"] for image in parsed(path.read_text()).all("img")]


def replace_pictures(path):
    """Replace all pictures of a page by one of them, so that a test sees which page a picture comes from."""
    first, *others = dict.fromkeys(sources(path))
    html = path.read_text().rpartition("<!--")[0]
    for other in others:
        html = html.replace(other, first)
    RunFiles(str(path.parents[2]), path.parent.name).write_html(path.name, html)
    return first


def test_a_run_takes_unchanged_pictures_from_its_last_report(tiny, rerun):
    tiny.add("a")
    path = rerun()
    pictures = sources(path)
    replaced = replace_pictures(path)
    assert len(set(pictures)) > 2
    assert set(sources(rerun())) == {replaced}
    write_report(str(path.parents[2]), "tiny")  # makes all pictures again
    assert sources(path) == pictures


def pictures_of(path, image_id):
    return [image.attributes["src"] for image in cards(parsed(path.read_text()))[image_id].all("img")]


def test_only_changed_pictures_are_made_again(tiny, rerun):
    tiny.add("a")
    replaced = replace_pictures(path := rerun())
    tiny.add("b", size=(50, 30))
    rerun()
    assert {*pictures_of(path, "a")} == {replaced}
    made = pictures_of(path, "b")
    write_report(str(path.parents[2]), "tiny")
    assert pictures_of(path, "b") == made


@pytest.mark.parametrize("damage", ["missing", "damaged", "not text"])
def test_a_missing_or_damaged_report_is_replaced_completely(tiny, rerun, damage):
    tiny.add("a")
    path = rerun()
    pictures = sources(path)
    replace_pictures(path)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"\xff\xfe" if damage == "not text" else path.read_bytes().replace(b"<h1>", b"<h2>"))
    assert sources(rerun()) == pictures


def test_everything_but_the_pictures_is_written_again(tiny, rerun):
    tiny.add("a")
    rerun("masks", report={"gallery": 3})
    page = parsed(rerun("cams", report={"gallery": 4}).read_text())
    assert "gallery: 4" in section(page, "config").text
    assert "The run was asked to stop after cams" in notes(page)
    shown = [row.attributes["data-stage"] for row in page.all("tr", having="data-stage")]
    assert shown == ["manifest", "texts", "cams"]
    assert "Pseudo mask" not in titles(page)


def test_a_running_run_has_a_report_of_its_progress(tiny):
    tiny.add("a")
    run = prepare_run(tiny.config(), "masks")
    start_run(run, 1)
    page = report_of(run)
    assert page.one("h1").text == "tiny running"
    assert "The run has not ended. This report shows the progress so far." in notes(page)
    assert "There are no scores or times yet" in notes(page)


def test_a_run_whose_process_has_died_is_interrupted(tiny):
    tiny.add("a")
    run = prepare_run(tiny.config(), "masks")
    start_run(run, 1)
    begun = run_files(run).read_run()
    run_files(run).write_json("run.json", {**begun, "host": "elsewhere"})
    page = report_of(run)
    assert page.one("h1").text == "tiny interrupted"
    assert "repeat the command that started the run" in notes(page)


def test_the_report_may_be_written_to_any_store(tiny, pool):
    tiny.add("a")
    run = prepare_run(tiny.config().model_copy(update={"store": "memory://reports/store"}), "manifest")
    assert report_of(write_run_files(make_run(run, pool))).one("h1").text == "tiny completed"


def test_writing_the_report_again_gives_the_same_file(scenes_made):
    write_run_files(scenes_made)
    uri = write_report(scenes_made.run.config.store, "scenes")
    first = Path(uri).read_text()
    write_report(scenes_made.run.config.store, "scenes")
    assert Path(uri).read_text() == first


def test_a_report_of_24_photos_stays_small(scenes_made):
    write_run_files(scenes_made)
    size = Path(write_report(scenes_made.run.config.store, "scenes")).stat().st_size
    assert size / 9 * 24 < 6e6


def test_an_unknown_run_is_reported(tmp_path):
    with pytest.raises(UsageError, match=r"^no run nobody in .*; existing runs: none"):
        write_report(str(tmp_path), "nobody")


def test_a_run_of_an_earlier_version_is_refused(tiny):
    tiny.add("a")
    run = prepare_run(tiny.config(), "manifest")
    start_run(run, 1)
    begun = run_files(run).read_run()
    del begun["vocabulary"]
    run_files(run).write_json("run.json", begun)
    with pytest.raises(UsageError, match=r"^run tiny was written by an earlier version of clipes: run it again"):
        write_report(run.config.store, "tiny")


HOSTILE = (None, True, 1.5, -1, 10**400, "", "x", "2026-01-01", [], [[]], {}, {"x": 1})


def test_a_run_json_of_any_shape_gives_a_report_or_an_error_of_clipes(tiny):
    tiny.add("a")
    run = prepare_run(tiny.config(), "manifest")
    with report_run(run):
        pass
    good = run_files(run).read_run()
    for name in good:
        for value in HOSTILE:
            run_files(run).write_json("run.json", {**good, name: value})
            with suppress(ClipesError):  # any other error fails the test
                write_report(run.config.store, "tiny")


def test_a_run_that_lost_its_name_writes_no_report(tiny, caplog):
    tiny.add("a")
    run = prepare_run(tiny.config(), "manifest")

    def fail():
        write_file(f"{claims_uri(run.store.uri, 'run', 'tiny')}/000000002.json", b"{}")
        raise StageError("the real one")

    with pytest.raises(StageError, match="the real one"), report_run(run):
        fail()
    assert not Path(run_files(run).uri("report.html")).exists()
    assert "could not write report.html: RunBusyError: another process has taken over" in caplog.text


def test_a_run_has_a_report_however_it_ends(tiny, caplog):
    tiny.add("a")
    run = prepare_run(tiny.config(), "manifest")
    with report_run(run) as record:
        pass
    assert Path(record.report).read_text().count("tiny: completed") == 1
    assert record.summary().report == record.report

    caplog.set_level(logging.INFO, "clipes")
    for failure, state in ((StageError("no"), "failed"), (KeyboardInterrupt(), "cancelled")):
        with pytest.raises(type(failure)), report_run(run):
            raise failure
        assert parsed(Path(record.report).read_text()).one("h1").text == f"tiny {state}"
        assert caplog.messages[-1] == f"report: {record.report}"


def test_a_report_that_cannot_be_written_does_not_mask_the_error(tiny, caplog):
    tiny.add("a")
    run = prepare_run(tiny.config(), "manifest")
    blocked = Path(run_files(run).uri(REPORT_FILE))

    def fail():
        (blocked / "in the way").mkdir(parents=True)
        raise StageError("the real one")

    with pytest.raises(StageError, match=r"^the real one$"), report_run(run):
        fail()
    assert "run tiny: could not write report.html: StorageError: " in caplog.text
    assert read_run(run.config.store, "tiny").run["state"] == "failed"


def test_no_report_is_written_for_a_run_of_another_live_process(tiny):
    tiny.add("a")
    run = prepare_run(tiny.config(), "manifest")
    start_run(run, 1)
    begun = run_files(run).read_run()
    run_files(run).write_json("run.json", {**begun, "pid": 1, "pid_started": started_at(1)})
    with pytest.raises(RunBusyError), report_run(run):
        pytest.fail("must not begin")
    assert run_files(run).find(REPORT_FILE) is None
