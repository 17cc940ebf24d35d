"""Print text of any origin on a terminal of any encoding, so that no part of the text controls the terminal.

`printable` makes a text safe. `TerminalConsole` applies it to each text and table cell that is printed. `announce` says
what a command waits for.
"""

import io
import os
import sys
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text
from typing_extensions import override

from clipes.tasks.machine.background import in_background
from clipes_core.errors import StorageError

DEFAULT_WIDTH = 80  # [columns]
PATIENCE_SECONDS = 1.0  # a command that waits longer says what it waits for
STANDARD_STREAMS = 3  # standard input, output and error have the file descriptors 0, 1 and 2
KEPT = "\n\t"
ESCAPED = ("Cc", "Cs", "Zl", "Zp")  # Unicode's control characters, lone surrogates, line and paragraph separators
_SPINNING = threading.Lock()  # held while a spinner is shown
DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def printable(text: str) -> str:
    r"""Return the text with escapes such as \x1b in place of characters that a terminal does not show as they are.

    The escaped characters are control characters other than newline and TAB, characters that change the direction of
    writing, and lone surrogates. Python uses the latter for bytes in file names that are not UTF-8.
    """
    return "".join(_escape(character) if _needs_escape(character) else character for character in text)


def _needs_escape(character: str) -> bool:
    return character not in KEPT and (unicodedata.category(character) in ESCAPED or character in DIRECTIONS)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number <= 0xFF else f"\\u{number:04x}"


class TerminalConsole(Console):
    """A console that prints each text and table cell literally: without markup, emoji codes or control characters.

    Args:
        file: stream to print to; None for standard output.
        stderr: if true, print to standard error instead.
        soft_wrap: if true, do not wrap texts at the width of the terminal.
    """

    def __init__(self, file: TextIO | None = None, *, stderr: bool = False, soft_wrap: bool = False) -> None:
        super().__init__(file=file, stderr=stderr, soft_wrap=soft_wrap, markup=False, emoji=False, highlight=False)
        if self.width < 1:  # COLUMNS=0 would hide every table
            self.width = DEFAULT_WIDTH

    @override
    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)

    @override
    def on_broken_pipe(self) -> None:
        """Print nothing more, because nobody reads the output any more. The command continues."""
        self.quiet = True
        with (
            suppress(OSError),
            Path(os.devnull).open("w") as null,
        ):  # so that what is still buffered can be written at exit
            os.dup2(null.fileno(), self.file.fileno())


@contextmanager
def announce(what: str, stream: TextIO | None = None) -> Iterator[None]:
    """Say what the command is doing if the block takes longer than PATIENCE_SECONDS.

    A terminal shows a spinner and the elapsed time until the block ends, but one spinner at a time. Any other stream
    gets one line.

    Args:
        what: what the block does, such as "starting the Prefect server".
        stream: stream to print to; standard error by default.
    """
    console = TerminalConsole(stream or sys.stderr, soft_wrap=True)

    def say(stop: threading.Event) -> None:
        if stop.wait(PATIENCE_SECONDS):
            return
        if not console.file.isatty():
            console.print(f"clipes: {what} ...")
        elif _SPINNING.acquire(blocking=False):
            try:
                _spin(console, what, stop)
            finally:
                _SPINNING.release()

    with in_background(say, "announce"):
        yield


def _spin(console: Console, what: str, stop: threading.Event) -> None:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # most commands need none

    columns = (SpinnerColumn(), TextColumn("clipes: {task.description} ..."), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as spinner:
        spinner.add_task(what, total=None)
        stop.wait()


class _StandardOutput(io.TextIOWrapper):
    """Standard output. It accepts every text, and its errors say that it could not be written."""

    @override
    def write(self, text: str) -> int:
        with _translate_output_errors():
            return super().write(text)

    @override
    def flush(self) -> None:
        with _translate_output_errors():
            super().flush()


@contextmanager
def _translate_output_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # rich and typer expect this error if nobody reads the output any more
        raise
    except OSError as exc:
        advice = "free space on its disk, or send it to another file"
        raise StorageError(f"standard output could not be written ({exc.strerror}): {advice}") from exc


def prepare_streams() -> None:
    """Let standard output and error accept every text, even if the caller has closed them.

    Characters that the encoding of a stream lacks are escaped. A closed stream is replaced by the null device, so that
    no file which is opened later takes its place. If standard output cannot be written, for example because its disk is
    full, printing raises a StorageError.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) < STANDARD_STREAMS:
        pass
    os.close(opened)
    sys.stdout, sys.stderr = (stream or _open_null() for stream in (sys.stdout, sys.stderr))
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding, by_line = sys.stdout.encoding, sys.stdout.line_buffering
        sys.stdout = _StandardOutput(sys.stdout.detach(), encoding, "backslashreplace", line_buffering=by_line)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")


def _open_null() -> TextIO:
    return Path(os.devnull).open("w")
