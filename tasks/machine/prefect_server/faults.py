"""Ask a Prefect server whether it can be used.

Prefect is imported inside the functions, because it reads the user's settings when it is imported, and these may be
invalid.
"""

import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from clipes.tasks.machine.prefect_server.errors import LOG_IN, UNAUTHORISED, describe_error, describe_status

if TYPE_CHECKING:
    import httpx

CHECK_SECONDS = 10.0
CORRECT_URL = "correct the URL, which usually ends in /api"


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
        return ServerFault(f"does not answer ({describe_error(exc)}){_advice(url, exc)}", may_pass=True)
    except Exception as exc:  # an invalid URL, a proxy or a certificate file that cannot be used
        # The message about an invalid URL may quote a part of its password.
        reason = type(exc).__name__ if isinstance(exc, httpx.InvalidURL) and "@" in url else describe_error(exc)
        return ServerFault(f"cannot be used ({reason}): correct the URL, the proxy or the certificate")
    return _wrong_version(url, answer)


def _refusal(url: str, answer: "httpx.Response") -> ServerFault:
    status = describe_status(answer)
    if answer.status_code in UNAUTHORISED:
        return ServerFault(f"refuses access ({status}): {LOG_IN}{_through_proxy(url)}")
    if answer.is_server_error:
        return ServerFault(f"reports an error ({status}): see its log{_through_proxy(url)}", may_pass=True)
    return ServerFault(f"is not the API of a Prefect server ({status}): {CORRECT_URL}{_through_proxy(url)}")


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
