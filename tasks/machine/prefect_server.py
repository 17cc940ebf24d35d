"""Check whether a Prefect server can be used, and translate Prefect's errors into errors that say what to do.

Prefect is imported inside the functions, because it reads the user's settings when it is imported, and these may be
invalid.
"""

import io
import logging
import os
import re
import tempfile
import traceback
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import ValidationError

from clipes.tasks.machine.terminal import announce
from clipes_core.errors import ClipesError, ConfigError, ServerLostError, StageError, StorageError

if TYPE_CHECKING:
    import httpx

LOOPBACK = ("localhost", "127.0.0.1", "::1")
PREFECT = ("prefect", "httpx", "httpcore")  # top-level packages; the last two are Prefect's HTTP client
OWN = ("clipes", "clipes_core")
PROXIED_PROTOCOLS = ("http", "https", "all")
CHECK_SECONDS = 10.0
UNAUTHORISED = (401, 403)
LOG_IN = "set PREFECT_API_AUTH_STRING to the server's PREFECT_SERVER_API_AUTH_STRING"
CORRECT_URL = "correct the URL, which usually ends in /api"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerFault:
    """The reason why a Prefect server cannot be used.

    Attributes:
        text: what is wrong and what to do, as words that follow the URL of the server.
        may_pass: true if the server may just be starting or overloaded.
    """

    text: str
    may_pass: bool = False


def find_fault(url: str) -> ServerFault | None:
    """Ask a Prefect server for its version. Return why the server cannot be used, or None if it can be used."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES
    from prefect.settings import temporary_settings as settings

    quick = {PREFECT_API_URL: url, PREFECT_API_REQUEST_TIMEOUT: CHECK_SECONDS, PREFECT_CLIENT_MAX_RETRIES: 0}
    try:
        with settings(quick), get_client(sync_client=True) as client:
            answer = client._client.get("/admin/version")
    except httpx.HTTPStatusError as exc:
        return _refusal(url, exc.response)
    except httpx.UnsupportedProtocol:
        return ServerFault("is not a URL such as http://127.0.0.1:4200/api: correct it")
    except httpx.RequestError as exc:
        return ServerFault(f"does not answer ({_reason(exc)}){_advice(url, exc)}", may_pass=True)
    except Exception as exc:  # an invalid URL, a proxy or a certificate file that cannot be used
        # The message about an invalid URL may quote a part of its password.
        reason = type(exc).__name__ if isinstance(exc, httpx.InvalidURL) and "@" in url else _reason(exc)
        return ServerFault(f"cannot be used ({reason}): correct the URL, the proxy or the certificate")
    return _wrong_version(url, answer)


def _refusal(url: str, answer: "httpx.Response") -> ServerFault:
    status = _status(answer)
    if answer.status_code in UNAUTHORISED:
        return ServerFault(f"refuses access ({status}): {LOG_IN}{_through_proxy(url)}")
    if answer.is_server_error:
        return ServerFault(f"reports an error ({status}): see its log{_through_proxy(url)}", may_pass=True)
    return ServerFault(f"is not the API of a Prefect server ({status}): {CORRECT_URL}{_through_proxy(url)}")


def _status(answer: "httpx.Response") -> str:
    return f"{answer.status_code} {answer.reason_phrase}".strip()


def _wrong_version(url: str, answer: "httpx.Response") -> ServerFault | None:
    from packaging.version import InvalidVersion, Version
    from prefect import __version__

    try:
        version = Version(answer.json())
    except (ValueError, TypeError, InvalidVersion):
        return ServerFault(f"is not the API of a Prefect server: {CORRECT_URL}{_through_proxy(url)}")
    if version.major != Version(__version__).major:
        return ServerFault(f"has Prefect {version}: start a server with the Prefect of clipes, {__version__}")
    return None


def _advice(url: str, error: Exception) -> str:
    if "SSL" in str(error) or "TLS" in str(error):
        own = "if its certificate is your own, set PREFECT_API_SSL_CERT_FILE"
        return f": if the server has no TLS, write http:// instead of https://; {own}"
    return f": start the server, or correct the URL{_through_proxy(url)}"


def _through_proxy(url: str) -> str:
    """Return advice about the proxy through which requests to the URL go; empty if they do not go through a proxy."""
    parts = urlsplit(url)
    host, proxies = parts.hostname or "", urllib.request.getproxies()
    if urllib.request.proxy_bypass(host) or not {parts.scheme, "all"} & proxies.keys():
        return ""
    return f". The requests go through the proxy of {parts.scheme}_proxy; if this is wrong, add {host} to no_proxy"


def _reason(error: BaseException) -> str:
    text = "; ".join(_invalid_values(error)) if isinstance(error, ValidationError) else str(error)
    return f"{type(error).__name__}: {without_password(' '.join(text.split()))}".removesuffix(": ")


def _invalid_values(error: ValidationError) -> Iterator[str]:
    """Yield the name and the mistake of each value, but not the value, which may be a password."""
    for entry in error.errors():
        yield f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}".removeprefix(": ")


def without_password(text: str) -> str:
    """Return the text without the user names and passwords of the URLs in it."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)


def bypass_proxy_on_this_host() -> None:
    """Let this process and its children reach servers on this host without a proxy, whatever the proxy settings say."""
    hosts = urllib.request.getproxies_environment().get("no", "")
    if hosts.strip() == "*":
        return
    given = [host.strip() for host in hosts.split(",") if host.strip()]
    wanted = ",".join([*given, *(host for host in LOOPBACK if host not in given)])
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = wanted


def check_proxies() -> None:
    """Check that Prefect's HTTP client can use the proxies that the environment names.

    The client prepares all of these proxies, also those that it does not need to reach the server.

    Raises:
        ConfigError: it cannot use one of them.
    """
    proxies = urllib.request.getproxies_environment()  # the lower-case form of a variable takes precedence
    if "*" in (host.strip() for host in proxies.get("no", "").split(",")):
        return
    for protocol in PROXIED_PROTOCOLS:
        if proxy := proxies.get(protocol):
            names = [name for name in os.environ if name.lower() == f"{protocol}_proxy" and os.environ[name] == proxy]
            _check_proxy(max(names), proxy)


def _check_proxy(name: str, proxy: str) -> None:
    import httpx

    try:
        httpx.HTTPTransport(proxy=proxy if "://" in proxy else f"http://{proxy}", verify=False).close()
    except ImportError as exc:
        raise ConfigError(
            f"{name}: Prefect cannot use a SOCKS proxy without the package socksio: run pip install socksio, unset "
            f"{name}, or set no_proxy=* to use no proxy"
        ) from exc
    except Exception as exc:
        reason = type(exc).__name__ if "@" in proxy else _reason(exc)  # the message may quote a password
        raise ConfigError(f"{name}: Prefect cannot use this proxy ({reason}): correct {name} or unset it") from exc


def load_prefect() -> None:
    """Import Prefect, which reads its settings, and log its warnings about them.

    Raises:
        ConfigError: Prefect cannot use its settings.
    """
    printed = io.StringIO()  # Prefect prints some warnings, and warns of the cause of some errors before it raises them
    with (
        announce("loading Prefect"),
        warnings.catch_warnings(record=True) as caught,
        redirect_stderr(printed),
        translate_prefect_errors(),
    ):
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        from prefect.settings import PREFECT_HOME

        PREFECT_HOME.value()
    for text in (*(str(warning.message) for warning in caught), printed.getvalue()):
        if words := " ".join(text.split()):
            logger.warning("Prefect: %s", words)


def check_home(home: Path) -> None:
    """Create the folder PREFECT_HOME if it does not exist, and check that files can be written to it.

    Raises:
        ConfigError: the folder cannot be used.
    """
    with translate_home_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"clipes")


@contextmanager
def translate_home_errors(home: Path) -> Iterator[None]:
    """Turn an error of the block, which uses files in the folder PREFECT_HOME, into one that says what to do.

    Raises:
        ConfigError: the folder cannot be used.
    """
    try:
        yield
    except (OSError, StorageError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or _reason(exc)
        advice = "set PREFECT_HOME to a folder with free space, to which you can write"
        raise ConfigError(f"PREFECT_HOME: cannot use {home} ({reason}): {advice}") from exc


def url_setting() -> str:
    """Return the name of the setting PREFECT_API_URL, and the profile that sets it, unless the environment sets it."""
    from prefect.context import get_settings_context
    from prefect.settings import PREFECT_API_URL

    profile = get_settings_context().profile
    if PREFECT_API_URL.name in os.environ or PREFECT_API_URL not in profile.settings:
        return PREFECT_API_URL.name
    return f"{PREFECT_API_URL.name} in the profile {profile.name} of {profile.source}"


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
        return ConfigError(f"Prefect cannot use its settings ({_reason(exc)}): correct {where}")
    for cause in _causes(error):
        if isinstance(cause, httpx.HTTPStatusError):
            return StageError(f"{server} refused a request ({_request(cause)}): {_repair(cause.response, log)}")
        if isinstance(cause, httpx.RequestError):
            return ServerLostError(f"{server} stopped answering ({_reason(cause)}): start it again")
    return StageError(f"Prefect failed ({_reason(error)}); {log} may say more")


def _request(error: "httpx.HTTPStatusError") -> str:
    return f"{error.request.method} {error.request.url.path}: {_status(error.response)}"


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
