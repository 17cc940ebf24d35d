import urllib.request

import httpx
import pytest

from clipes.tasks.machine.prefect_server.proxies import bypass_proxy_on_this_host, check_proxies
from clipes_core.errors import ConfigError


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        ("socks5://me:secret@127.0.0.1:9", "Prefect cannot use a SOCKS proxy without the package socksio"),
        ("socks5h://127.0.0.1:9", "Prefect cannot use a SOCKS proxy without the package socksio"),
        ("nonsense://me:secret@x", "Prefect cannot use this proxy (ValueError)"),
        ("nonsense://x", "Prefect cannot use this proxy (ValueError: Unknown scheme"),
        ("http://me:secret/1@x:y", "Prefect cannot use this proxy ("),
    ],
)
def test_a_proxy_that_prefect_cannot_use_is_named_by_its_variable(proxies, name, proxy, message):
    proxies.setenv(name, proxy)
    with pytest.raises(ConfigError) as caught:
        check_proxies()
    assert str(caught.value).startswith(f"{name}: {message}")
    assert f"unset {name}, or set no_proxy=*" in str(caught.value) or f"correct {name} or un" in str(caught.value)
    assert "secret" not in str(caught.value)
    proxies.setenv("no_proxy", "*")
    check_proxies()


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "127.0.0.1:9", "http://me:secret@127.0.0.1:9", ""])
def test_other_proxies_are_accepted(proxies, proxy):
    proxies.setenv("ALL_PROXY", proxy)
    check_proxies()


@pytest.mark.parametrize(
    "others", [{"no_proxy": "localhost,*"}, {"all_proxy": "http://127.0.0.1:9"}, {"all_proxy": ""}]
)
def test_a_proxy_that_prefect_does_not_use_is_accepted(proxies, others):
    proxies.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    for name, value in others.items():
        proxies.setenv(name, value)
    check_proxies()
    with httpx.Client():
        pass


@pytest.mark.parametrize("given", [None, "example.org", "example.org, 127.0.0.1", "*"])
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_this_host_is_reached_without_a_proxy(proxies, given, name):
    if given is not None:
        proxies.setenv(name, given)
    bypass_proxy_on_this_host()
    assert all(map(urllib.request.proxy_bypass, ("localhost", "127.0.0.1", "::1")))
    assert bool(urllib.request.proxy_bypass("example.org")) == (given is not None)
