import io
import os
import re
import threading
import time
from contextlib import suppress

import pytest

from clipes.tasks.ui import terminal_progress as progress
from clipes.tasks.ui.terminal_progress import Done, StageProgress, seconds_between_lines, show_progress


@pytest.fixture
def terminal():
    """Open a pseudo-terminal and return its readable file descriptor and its output stream."""
    reading, writing = os.openpty()
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123
        yield reading, stream
    os.close(reading)


def counted(**computed):
    """Return a function that gives the computed rows of each stage."""
    return lambda stage: Done(computed[stage])


def updated(progress, *counts):
    """Update the progress with the given times and rows, and return its text."""
    for now, done in counts:
        progress.update(done, now)
    return progress.text


def shown_on(terminal, totals, done):
    """Return the text that a terminal shows. The output arrives in several pieces."""
    reading, stream = terminal
    seen = []

    def read():
        with suppress(OSError):  # Linux reports the end of a pseudo-terminal's output as an error
            while piece := os.read(reading, 1 << 16):
                seen.append(piece)

    thread = threading.Thread(target=read)
    thread.start()
    with show_progress("demo", totals, done, stream):
        pass
    stream.close()
    thread.join()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(seen).decode())


def test_the_last_lines_have_the_final_counts():
    stream = io.StringIO()
    with show_progress("demo", {"cams": 9, "masks": 4}, counted(cams=9, masks=3), stream):
        pass
    assert stream.getvalue() == "demo: cams: 9 of 9 after 0 s\ndemo: masks: 3 of 4 after 0 s\n"


def test_a_stage_without_progress_has_no_line():
    stream = io.StringIO()
    with show_progress("demo", {"cams": 9, "masks": 4}, counted(cams=2, masks=0), stream):
        pass
    assert stream.getvalue() == "demo: cams: 2 of 9 after 0 s\n"


def test_rows_computed_twice_do_not_exceed_the_total():
    stream = io.StringIO()
    with show_progress("demo", {"cams": 9}, lambda _: Done(7, 5), stream):
        pass
    assert stream.getvalue() == "demo: cams: 9 of 9 after 0 s\n"


def test_lines_are_printed_while_work_is_in_progress(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.05)
    stream, counts = io.StringIO(), {"cams": Done(1)}
    with show_progress("demo", {"cams": 3}, counts.get, stream):
        for count in (2, 3):
            time.sleep(0.2)
            counts["cams"] = Done(count)
    lines = stream.getvalue().splitlines()
    assert [line.split(" after")[0] for line in lines] == [f"demo: cams: {number} of 3" for number in (1, 2, 3)]


def test_an_error_ends_the_thread_that_prints_lines():
    stream = io.StringIO()
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), show_progress("demo", {"cams": 3}, counted(cams=1), stream):
        raise KeyboardInterrupt
    assert stream.getvalue() == "demo: cams: 1 of 3 after 0 s\n"
    assert threading.active_count() == before


def test_lines_are_printed_to_standard_error(capsys):
    with show_progress("demo", {"cams": 3}, counted(cams=1)):
        pass
    assert capsys.readouterr() == ("", "demo: cams: 1 of 3 after 0 s\n")


def test_a_terminal_shows_a_bar_per_stage(terminal):
    seen = shown_on(terminal, {"cams": 9, "masks": 4}, counted(cams=9, masks=3))
    assert "cams" in seen
    assert "9/9" in seen
    assert "masks" in seen
    assert "3/4" in seen


def test_a_terminal_shows_the_run_and_the_failures(terminal):
    seen = shown_on(terminal, {"cams": 9}, lambda _: Done(4, 0, failed=2))
    assert "demo\r\ncams" in seen
    assert "4/9" in seen
    assert "2 failed" in seen


def test_a_stage_without_rows_is_not_shown(terminal):
    seen = shown_on(terminal, {"cams": 9, "segmenter_scores": 0}, lambda stage: Done(9 if stage == "cams" else 0))
    assert "9/9" in seen
    assert "segmenter_scores" not in seen
    assert "0/0" not in seen


def test_failures_are_counted_in_words():
    cams = StageProgress("cams", 9, 0.0)
    assert updated(cams, (1, Done(2, failed=1))) == "2 of 9 after 1 s, 1 failed"


def test_a_long_run_prints_fewer_lines():
    assert [seconds_between_lines(elapsed) for elapsed in (0, 200, 3600, 1e6)] == [10, 10, 180, 600]


def test_a_bar_does_not_exceed_its_total(terminal):
    assert "9/9" in shown_on(terminal, {"cams": 9}, lambda _: Done(7, 5))


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120])
def test_every_count_appears_whole_on_a_terminal_of_any_width(terminal, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    seen = shown_on(terminal, {"segmenter_scores": 8278312}, counted(segmenter_scores=4139156))
    assert re.search(r"\b4139156\b.*\b8278312\b", seen)


def test_only_rows_computed_in_this_run_count_for_the_speed():
    masks = StageProgress("masks", 600, 100.0)
    assert updated(masks, (110, Done(0, 50))) == "50 of 600 after 0 s"
    assert updated(masks, (120, Done(10, 50))) == "60 of 600 after 10 s"
    assert updated(masks, (130, Done(20, 80))) == "100 of 600 after 20 s, 1.0 rows/s, about 8.3 min to go"
    assert updated(masks, (420, Done(310, 280))) == "590 of 600 after 310 s, 1.0 rows/s, about 10 s to go"
    assert updated(masks, (430, Done(320, 280))) == "600 of 600 after 320 s"


def test_the_time_to_go_is_not_stated_in_milliseconds():
    masks = StageProgress("masks", 10_000, 0.0)
    text = updated(masks, (0, Done(0)), (10, Done(4_000)), (20, Done(9_990)))
    assert text == "9990 of 10000 after 20 s, 599.0 rows/s, about 1.0 s to go"


def test_rows_that_a_worker_loses_do_not_restart_the_time():
    masks = StageProgress("masks", 600, 0.0)
    updated(masks, (0, Done(0)), (10, Done(100)), (20, Done(200)))
    assert updated(masks, (30, Done(100))) == "100 of 600 after 30 s"
    assert updated(masks, (50, Done(200))) == "200 of 600 after 50 s, 2.5 rows/s, about 2.7 min to go"


def test_iterations_before_the_checkpoint_do_not_count_for_the_speed():
    training = StageProgress("segmenter", 40_000, 0.0)
    assert updated(training, (50, Done(0)), (60, Done(30_000))) == "30000 of 40000 iterations after 10 s"
    text = updated(training, (70, Done(30_010)))
    assert text == "30010 of 40000 iterations after 20 s, 1.0 iterations/s, about 2.8 h to go"


def test_the_moment_between_the_end_of_a_job_and_its_record_does_not_restart_the_time():
    training = StageProgress("segmenter", 100, 0.0)
    updated(training, (0, Done(0)), (10, Done(50)), (20, Done(100)))
    assert updated(training, (21, Done(0))) == "100 of 100 iterations after 20 s"
    assert updated(training, (22, Done(100))) == "100 of 100 iterations after 22 s"


def test_a_training_that_starts_over_restarts_its_speed():
    training = StageProgress("segmenter", 100, 0.0)
    updated(training, (0, Done(0)), (10, Done(10)), (20, Done(60)))
    assert updated(training, (50, Done(5))) == "5 of 100 iterations after 0 s"
    assert (
        updated(training, (60, Done(6)), (70, Done(7)))
        == "7 of 100 iterations after 20 s, 0.1 iterations/s, about 16 min to go"
    )
