"""Check the proxies that the environment names, and let requests to this host bypass them."""

import os
import urllib.request

from clipes.tasks.machine.prefect_server.errors import describe_error
from clipes_core.errors import ConfigError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
PROXIED_PROTOCOLS = ("http", "https", "all")


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
        reason = type(exc).__name__ if "@" in proxy else describe_error(exc)  # the message may quote a password
        raise ConfigError(f"{name}: Prefect cannot use this proxy ({reason}): correct {name} or unset it") from exc
