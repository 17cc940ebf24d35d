import io

from clipes.flows.terminal.check_lines import print_check, print_findings
from clipes.tasks.commands.finding import Finding
from clipes.tasks.machine.terminal import TerminalConsole


def printed(*findings):
    console = TerminalConsole(io.StringIO(), soft_wrap=True)
    can_start = print_check(console, findings)
    return can_start, console.file.getvalue()


def test_details_are_wrapped_next_to_their_verdict(monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    can_start, text = printed(
        Finding("store", True, "/store can be written, and it is empty"), Finding("labels", None, "one\n\ntwo")
    )
    assert can_start
    assert text.splitlines() == [
        "ok       store            /store can be written,",
        "                          and it is empty",
        "warning  labels           one",
        "                          ",
        "                          two",
        "",
        "1 warning, no problems: a run can start",
    ]


def test_words_that_are_wider_than_the_terminal_are_not_divided(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    path = "/a-very-long-folder/" * 3
    _, text = printed(Finding("store", True, f"{path} works"))
    assert path in text


def test_a_finding_without_details_is_printed():
    _, text = printed(Finding("ray cluster", False, ""))
    assert text.splitlines()[0].split() == ["problem", "ray", "cluster"]


def test_a_problem_means_that_a_run_cannot_start():
    can_start, text = printed(Finding("store", False, "full"), Finding("weights", False, "missing"))
    assert not can_start
    assert text.splitlines()[-1] == "no warnings, 2 problems: a run cannot start"


def test_control_characters_and_passwords_are_not_printed():
    _, text = printed(Finding("store", False, "\x1b[2J s3://me:secret@host/x"))
    assert "\x1b" not in text
    assert "secret" not in text


def test_findings_are_counted_and_lie_in_columns_as_wide_as_their_longest_name():
    console = TerminalConsole(io.StringIO(), soft_wrap=True)
    found = [Finding("onedl-mmsegmentation", True, "1.2"), Finding("ports", None, "open"), Finding("x", False, "no")]
    counts = print_findings(console, found, what_width=22)
    assert (counts[True], counts[None], counts[False]) == (1, 1, 1)
    assert console.file.getvalue().splitlines() == [
        "ok       onedl-mmsegmentation  1.2",
        "warning  ports                 open",
        "problem  x                     no",
    ]
