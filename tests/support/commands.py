"""The clipes command, run as a separate process or inside the process of the tests."""

import contextlib
import io
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from clipes.flows import cli
from clipes.tasks.machine.log import LOGGER

CLIPES = Path(sys.executable).with_name("clipes")
INLINE = ("--set", "execution.runner.kind=inline")
WITH_RUNNER = ("run", "prompts", "synonyms", "ablate", "reproduce", "estimate")  # the commands that make shards


def settings(*overrides: str) -> tuple[str, ...]:
    """Return the arguments that set keys of the config, each given as KEY=VALUE."""
    return tuple(word for override in overrides for word in ("--set", override))


def without_announcements(stderr: str) -> str:
    """Return a command's output without the lines that appear only if a step takes longer than a second."""
    return re.sub(r"^clipes: .+ \.\.\.\n", "", stderr, flags=re.MULTILINE)


def end_at_ctrl_c() -> None:
    """Let the started process end at Ctrl-C even if the tests are a background job, which ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True)
class ClipesProcess:
    """The clipes command as a separate process, as a user calls it.

    Attributes:
        folder: folder in which the command is called.
        environment: environment variables added to those of this process.
        program: program and its first arguments.
    """

    folder: Path
    environment: dict[str, str]
    program: tuple[str, ...] = (str(CLIPES),)

    def __call__(self, *arguments: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.program, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        done.stderr = without_announcements(done.stderr)
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.program, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=end_at_ctrl_c,
        )


@dataclass(frozen=True)
class ClipesHere:
    """The same command inside this process, with the inline runner, which saves the imports of a new process.

    Attributes:
        folder: folder in which the command is called.
        environment: environment variables that are set during the call.
    """

    folder: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            temporary_settings({PREFECT_API_URL: self.environment["PREFECT_API_URL"]}),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _restored_handlers(),
        ):
            patch.chdir(self.folder)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["clipes", *arguments, *(INLINE if arguments[0] in WITH_RUNNER else ())])
            code = _exit_code()
        # A message that quotes the command to repeat must not show the arguments added here.
        stderr = without_announcements(err.getvalue()).replace(f" {' '.join(INLINE)}", "")
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), stderr)


def _exit_code() -> int:
    try:
        cli.main()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    return 0


@contextlib.contextmanager
def _restored_handlers() -> Iterator[None]:
    """Restore the handlers of logging, signals and ignored exceptions at the end of the block."""
    logger = logging.getLogger(LOGGER)
    handlers, before = list(logger.handlers), {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    unraisable = sys.unraisablehook
    try:
        yield
    finally:
        sys.unraisablehook = unraisable
        logger.handlers[:] = handlers
        for number, handler in before.items():
            signal.signal(number, handler)
