"""Turn errors into messages and the exit codes of the command line."""

import errno
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.text import Text
from typer.core import TyperGroup
from typing_extensions import override

from clipes.flows.terminal.consoles import err
from clipes.tasks.machine.interruption import (
    INTERRUPTED,
    end_without_exit_handlers,
    interruption_behind,
    interruption_first,
)
from clipes.tasks.machine.prefect_server.errors import translate_prefect_errors
from clipes.tasks.machine.terminal import printable
from clipes.tasks.storage.filesystem import FILE_TOO_LARGE
from clipes_core.config.uri import without_secrets
from clipes_core.errors import ClipesError, ServerLostError, StageError, UsageError

FAILED, BAD_USAGE, RUNNING = 1, 2, 3


def code_of_state(state: str) -> int:
    """Return the exit code of `clipes status` for the state of a run, as `RunStatus.state` names it."""
    return {"completed": 0, "running": RUNNING}.get(state, FAILED)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn errors in the block into messages and exit codes."""
    try:
        with interruption_first(), translate_prefect_errors():
            yield
    except UsageError as exc:
        _end(BAD_USAGE, str(exc))
    except ServerLostError as exc:
        _report(str(exc))
        end_without_exit_handlers(FAILED)  # Prefect's handlers would try for hours to send what the run has recorded
    except ClipesError as exc:
        _end(FAILED, str(exc))
    except OSError as exc:
        _end(FAILED, FILE_TOO_LARGE if exc.errno == errno.EFBIG else f"{type(exc).__name__}: {exc}")
    except BaseException as exc:
        if interruption_behind(exc) is None:
            raise
        _end(INTERRUPTED, _how_to_resume())


class Commands(TyperGroup):
    """The commands. A mistake in their arguments raises a UsageError, so that `exit_codes` reports it.

    typer itself would print the arguments as they are, also if they contain a password.
    """

    @override
    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _translate_usage_errors():
            return super().make_context(*args, **kwargs)

    @override
    def invoke(self, ctx: Any) -> Any:
        with _translate_usage_errors():
            return super().invoke(ctx)


@contextmanager
def _translate_usage_errors() -> Iterator[None]:
    try:
        yield
    except typer.TyperException as exc:
        message, context = exc.format_message(), getattr(exc, "ctx", None)
        if not message:  # the call has no arguments, and typer has printed the help
            raise
        raise UsageError(f"{message}{_where_to_read_more(context)}") from exc


def _where_to_read_more(context: Any) -> str:
    if context is None:
        return ""
    expected = "the commands" if isinstance(context.command, TyperGroup) else "what the command expects"
    return f"\n{context.command_path} --help lists {expected}"


@contextmanager
def explain_resume() -> Iterator[None]:
    """If the block raises a StageError, extend its message with the command that resumes the run."""
    try:
        yield
    except StageError as exc:
        again = [argument for argument in sys.argv[1:] if argument != "--fresh"]  # --fresh would discard the work again
        hint = f"Finished work is kept. To resume: {shlex.join(['clipes', *again])}"
        raise type(exc)(f"{exc}\n{hint}") from exc


def _how_to_resume() -> str:
    if sys.argv[1:2] == ["estimate"]:
        return "interrupted: run the same command again, which measures the sample from its start"
    again = "again, without --fresh," if "--fresh" in sys.argv else "again"  # --fresh would discard the work
    return f"interrupted; finished work is kept: run the same command {again} to resume"


def _end(code: int, message: str) -> None:
    _report(message)
    sys.exit(code)


def _report(message: str) -> None:
    for line in without_secrets(message).splitlines():
        err.print(Text.assemble(("clipes:", "red"), f" {printable(line)}"))
