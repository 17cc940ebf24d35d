import io
import os
import re
import threading
import time

import pytest

from tasks import progress
from tasks.progress import shown_progress


@pytest.fixture
def terminal():
    """A real terminal of 120 columns: its two ends."""
    reading, writing = os.openpty()
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123
        yield reading, stream
    os.close(reading)


def shown_on(terminal, totals, done):
    """What a terminal gets to see."""
    reading, stream = terminal
    seen = []
    thread = threading.Thread(target=lambda: seen.append(os.read(reading, 1 << 16)))
    with shown_progress(totals, done, stream):
        pass
    stream.flush()
    thread.start()
    thread.join(timeout=5)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen[0].decode())


def test_lines_tell_at_the_end_what_was_done():
    stream = io.StringIO()
    with shown_progress({"cams": 9, "masks": 4}, {"cams": 9, "masks": 3}.get, stream):
        pass
    assert stream.getvalue() == "cams: 9/9 after 0 s\nmasks: 3/4 after 0 s\n"


def test_a_stage_that_has_not_moved_has_no_line():
    stream = io.StringIO()
    with shown_progress({"cams": 9, "masks": 4}, {"cams": 2, "masks": 0}.get, stream):
        pass
    assert stream.getvalue() == "cams: 2/9 after 0 s\n"


def test_rows_made_twice_do_not_count_beyond_the_total():
    stream = io.StringIO()
    with shown_progress({"cams": 9}, lambda _: 12, stream):
        pass
    assert stream.getvalue() == "cams: 9/9 after 0 s\n"


def test_lines_come_while_the_work_goes_on(monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.05)
    stream, counts = io.StringIO(), {"cams": 1}
    with shown_progress({"cams": 3}, counts.get, stream):
        for count in (2, 3):
            time.sleep(0.2)
            counts["cams"] = count
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]


def test_lines_end_with_an_error_too():
    stream = io.StringIO()
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), shown_progress({"cams": 3}, {"cams": 1}.get, stream):
        raise KeyboardInterrupt
    assert stream.getvalue() == "cams: 1/3 after 0 s\n"
    assert threading.active_count() == before


def test_lines_go_to_standard_error(capsys):
    with shown_progress({"cams": 3}, {"cams": 1}.get):
        pass
    assert capsys.readouterr() == ("", "cams: 1/3 after 0 s\n")


def test_a_terminal_shows_a_bar_per_stage(terminal):
    seen = shown_on(terminal, {"cams": 9, "masks": 4}, {"cams": 9, "masks": 3}.get)
    assert "cams" in seen
    assert "9/9" in seen
    assert "masks" in seen
    assert "3/4" in seen


def test_a_bar_does_not_go_beyond_its_total(terminal):
    assert "9/9" in shown_on(terminal, {"cams": 9}, lambda _: 12)
