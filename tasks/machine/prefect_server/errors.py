"""Translate Prefect's errors into errors that say what to do.

Prefect is imported inside the functions, because it reads the user's settings when it is imported, and these may be
invalid.
"""

import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import ValidationError

from clipes_core.errors import ClipesError, ConfigError, ServerLostError, StageError

if TYPE_CHECKING:
    import httpx

PREFECT = ("prefect", "httpx", "httpcore")  # top-level packages; the last two are Prefect's HTTP client
OWN = ("clipes", "clipes_core")
UNAUTHORISED = (401, 403)
LOG_IN = "set PREFECT_API_AUTH_STRING to the server's PREFECT_SERVER_API_AUTH_STRING"


def describe_status(answer: "httpx.Response") -> str:
    """Return the code and the reason of an answer, such as 404 Not Found."""
    return f"{answer.status_code} {answer.reason_phrase}".strip()


def describe_error(error: BaseException) -> str:
    """Return the type and the message of an error in one line, without passwords."""
    text = "; ".join(_invalid_values(error)) if isinstance(error, ValidationError) else str(error)
    return f"{type(error).__name__}: {without_password(' '.join(text.split()))}".removesuffix(": ")


def _invalid_values(error: ValidationError) -> Iterator[str]:
    """Yield the name and the mistake of each value, but not the value, which may be a password."""
    for entry in error.errors():
        yield f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}".removeprefix(": ")


def without_password(text: str) -> str:
    """Return the text without the user names and passwords of the URLs in it."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


@contextmanager
def translate_prefect_errors(log: str = "the log of the server") -> Iterator[None]:
    """Turn each error that Prefect raises in the block into an error that says what to do.

    An error that clipes raises stays unchanged, even if it passes through Prefect's engine.

    Args:
        log: where the messages of the server are, for advice.

    Raises:
        ConfigError: Prefect cannot read its settings.
        ServerLostError: the server does not answer.
        StageError: the server refuses a request, or Prefect fails in another way.
    """
    try:
        yield
    except ClipesError:
        raise
    except Exception as exc:
        if not _is_raised_by_prefect(exc):
            raise
        raise _translated(exc, log) from exc


def _is_raised_by_prefect(error: Exception) -> bool:
    """Return whether the innermost frame of clipes or Prefect on the stack of the error is a frame of Prefect."""
    packages = [
        frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return next((package in PREFECT for package in reversed(packages) if package in (*PREFECT, *OWN)), False)


def _translated(error: Exception, log: str) -> ClipesError:
    try:
        import httpx
        from prefect.settings import PREFECT_API_URL

        server = f"the Prefect server at {without_password(PREFECT_API_URL.value() or 'an unknown URL')}"
    except Exception as exc:
        profiles = (
            os.environ.get("PREFECT_PROFILES_PATH") or f"{os.environ.get('PREFECT_HOME', '~/.prefect')}/profiles.toml"
        )
        where = f"the environment variables PREFECT_*, {profiles}, and prefect.toml and .env in this folder"
        return ConfigError(f"Prefect cannot use its settings ({describe_error(exc)}): correct {where}")
    for cause in _causes(error):
        if isinstance(cause, httpx.HTTPStatusError):
            return StageError(f"{server} refused a request ({_request(cause)}): {_repair(cause.response, log)}")
        if isinstance(cause, httpx.RequestError):
            return ServerLostError(f"{server} stopped answering ({describe_error(cause)}): start it again")
    return StageError(f"Prefect failed ({describe_error(error)}); {log} may say more")


def _request(error: "httpx.HTTPStatusError") -> str:
    return f"{error.request.method} {error.request.url.path}: {describe_status(error.response)}"


def _repair(answer: "httpx.Response", log: str) -> str:
    from prefect import __version__

    if answer.status_code in UNAUTHORISED:
        return LOG_IN
    if answer.is_server_error:
        return f"its disk may be full, or its database damaged; see {log}"
    return f"it must have the version of clipes's Prefect, {__version__}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
