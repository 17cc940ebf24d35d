import io
import os
import random
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.table import Table
from support.hostile_texts import hostile_texts

from clipes.tasks.machine import terminal
from clipes.tasks.machine.terminal import TerminalConsole, announce, prepare_streams, printable

SEEDS = range(100)
PROGRAM = """
import sys
from clipes.tasks.machine.terminal import TerminalConsole, prepare_streams
prepare_streams()
console = TerminalConsole(soft_wrap=True)
for _ in range(20000):
    console.print(sys.argv[1])
print(sys.argv[1], file=sys.stderr)
"""


def printed(*texts):
    """Print texts on a console, and return what it wrote."""
    file = io.StringIO()
    console = TerminalConsole(file, soft_wrap=True)
    for text in texts:
        console.print(text)
    return file.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\rb\x00\x7f\x9b", r"a\x0db\x00\x7f\x9b"),
        ("a\udc80b", r"a\udc80b"),
        ("a\u202eb\u2028", r"a\u202eb\u2028"),
        ("träd 🐕 \t\n", "träd 🐕 \t\n"),
    ],
)
def test_only_what_a_terminal_does_not_show_is_escaped(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["[bold]a[/]", "[x]", "[/]", ":dog:", "[link=file:///x]a[/link]", "\\[a]"])
def test_markup_and_emoji_codes_are_printed_literally(text):
    assert printed(text) == f"{text}\n"
    table = Table(text, box=None, pad_edge=False)
    table.add_row(text)
    assert [line.strip() for line in printed(table).splitlines()] == [text, text]


@pytest.mark.parametrize("seed", SEEDS)
def test_no_text_controls_the_terminal(seed):
    texts = hostile_texts(random.Random(seed), 4)
    table = Table(*texts[:2])
    table.add_row(*texts[2:])
    for shown in (printed(*texts), printed(table)):
        assert all(character in "\n\t" or printable(character) == character for character in shown)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_every_encoding_shows_every_text(encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    prepare_streams()
    texts = [text for seed in SEEDS for text in hostile_texts(random.Random(seed), 2)]
    console = TerminalConsole(soft_wrap=True)
    for text in ("träd 🐕", *texts):
        console.print(text)
        print(text)
    sys.stdout.flush()
    first = raw.getvalue().decode(encoding).splitlines()[0]
    assert first == "träd 🐕".encode(encoding, "backslashreplace").decode(encoding)


@pytest.mark.parametrize("width", [1, 2, 80])
def test_tables_fit_any_width(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    table = Table("one", "two")
    table.add_row("🐕 a long text", "[x]")
    file = io.StringIO()
    TerminalConsole(file).print(table)
    assert file.getvalue().count("\n") >= 2


def test_a_reader_that_leaves_and_a_closed_output_cause_no_traceback():
    command = [sys.executable, "-c", PROGRAM, "line"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.stderr.read() == b"line\n"
    assert process.returncode == 0
    done = subprocess.run(command, preexec_fn=lambda: os.close(1), stderr=subprocess.PIPE, check=True)
    assert done.stderr == b"line\n"


@pytest.mark.parametrize("call", ["TerminalConsole().print('a')", "print('a' * 100_000)", "print('a', flush=True)"])
def test_output_that_cannot_be_written_is_a_storage_error_of_standard_output(call):
    program = f"from clipes.tasks.machine.terminal import *\nprepare_streams()\n{call}"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True)
    expected = "StorageError: standard output could not be written (No space left on device): free space on its disk"
    assert expected in done.stderr


def test_a_width_of_0_hides_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    stream = io.StringIO()
    TerminalConsole(stream).print("a text")
    assert stream.getvalue().strip() == "a text"


def announced(stream, monkeypatch, patience, until):
    """Announce a wait that ends as soon as `until` returns, and return nothing."""
    monkeypatch.setattr(terminal, "PATIENCE_SECONDS", patience)
    with announce("starting the engine", stream):
        until()


def test_a_short_wait_is_not_announced(monkeypatch):
    stream = io.StringIO()
    announced(stream, monkeypatch, 600.0, lambda: None)
    assert stream.getvalue() == ""


def test_a_long_wait_is_announced_with_one_line(monkeypatch):
    stream = Written()
    announced(stream, monkeypatch, 0.0, stream.written.wait)
    assert stream.getvalue() == "clipes: starting the engine ...\n"


def test_a_terminal_shows_a_spinner_that_disappears(monkeypatch):
    reading, writing = os.openpty()
    with open(writing, "w", encoding="utf-8") as stream:  # noqa: PTH123
        announced(stream, monkeypatch, 0.0, lambda: read_until(reading, "starting the engine ... 0:00:0"))
        stream.write("next line")
        stream.flush()
        rest = read_until(reading, "next line")
    os.close(reading)
    assert "\x1b[2K" in rest  # the line of the spinner is erased


def read_until(descriptor, text):
    """Read from a terminal until it has shown a text, and return what it has shown."""
    shown = ""
    while text not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown):
        shown += os.read(descriptor, 1 << 16).decode()
    return shown


class Written(io.StringIO):
    """A stream that tells when a line has been written to it."""

    def __init__(self):
        super().__init__()
        self.written = threading.Event()

    def write(self, text):
        count = super().write(text)
        if "\n" in text:
            self.written.set()
        return count
