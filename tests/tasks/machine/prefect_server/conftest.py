import pytest
from support.input_cases.servers import WebServer
from support.web_server import serve


@pytest.fixture(scope="module")
def web():
    with serve(WebServer) as url:
        yield url


@pytest.fixture
def proxies(monkeypatch):
    """Remove the proxies of the environment, and restore it after the test."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        for spelt in (name, name.upper()):
            monkeypatch.setenv(spelt, "")  # so that the variable is restored, even if the test sets it
            monkeypatch.delenv(spelt)
    return monkeypatch
