import os
import subprocess
import sys
import urllib.request

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from support.input_cases.servers import NOBODY, WebServer
from support.permissions import unprivileged
from support.web_server import serve

from clipes.tasks.machine.prefect_server import (
    LOG_IN,
    bypass_proxy_on_this_host,
    check_home,
    check_proxies,
    find_fault,
    translate_prefect_errors,
    url_setting,
)
from clipes_core.errors import ConfigError, ServerLostError, StageError

LOAD = "from clipes.tasks.machine.prefect_server import load_prefect; load_prefect()"


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


def test_a_real_server_has_no_fault(server):
    assert find_fault(server) is None


@pytest.mark.parametrize(
    ("path", "text", "may_pass"),
    [
        ("api", "is not the API of a Prefect server: correct the URL, which usually ends in /api", False),
        ("vx/api", "is not the API of a Prefect server: correct the URL, which usually ends in /api", False),
        (
            "403/api",
            f"refuses access (403 Forbidden): {LOG_IN}",
            False,
        ),
        ("500/api", "reports an error (500 Internal Server Error): see its log", True),
    ],
)
def test_the_fault_of_another_server_is_explained(web, proxies, path, text, may_pass):
    fault = find_fault(f"{web}/{path}")
    assert (fault.text, fault.may_pass) == (text, may_pass)


def test_a_server_that_does_not_answer_may_be_starting():
    fault = find_fault(NOBODY)
    assert fault.may_pass
    assert fault.text.startswith("does not answer (ConnectError: ")


def test_the_password_in_an_invalid_url_is_not_repeated():
    text = find_fault("http://user:secret/1@127.0.0.1:9/api").text
    assert text == "cannot be used (InvalidURL): correct the URL, the proxy or the certificate"


def test_a_proxy_that_answers_for_the_server_is_named(web, proxies):
    proxies.setenv("http_proxy", web)
    assert find_fault("http://prefect.example:4200/api").text.endswith(
        ". The requests go through the proxy of http_proxy; if this is wrong, add prefect.example to no_proxy"
    )


@pytest.mark.parametrize("proxy", ["nonsense://x", "socks5://127.0.0.1:9"])
def test_a_proxy_that_cannot_be_used_is_a_fault(proxies, proxy):
    proxies.setenv("ALL_PROXY", proxy)
    assert find_fault(NOBODY).text.startswith("cannot be used (")


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


@pytest.mark.parametrize("below", ["", "below"])
def test_a_home_that_is_a_file_is_reported(tmp_path, below):
    home = tmp_path / "home"
    home.touch()
    with pytest.raises(ConfigError, match=r"^PREFECT_HOME: cannot use .*home.* \(.+\): set PREFECT_HOME to a folder"):
        check_home(home / below)


def test_a_home_without_write_permission_is_reported(tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    with unprivileged(home), pytest.raises(ConfigError, match=r"\(Permission denied\): set PREFECT_HOME"):
        check_home(home)


def load_in(home, **variables):
    """Import Prefect in a new process, and return the last line of its standard error."""
    environment = {**os.environ, "PREFECT_HOME": str(home), **variables}
    done = subprocess.run([sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, check=False)
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("profiles", "reason"),
    [
        (b'active = "x', "TOMLDecodeError: "),
        pytest.param(b"[profiles]\nlocal = 3\nactive = 'local'", "ValidationError: ", marks=pytest.mark.slow),
        pytest.param(b"\xff", "UnicodeDecodeError: ", marks=pytest.mark.slow),
    ],
)
def test_damaged_profiles_are_reported(tmp_path, profiles, reason):
    (tmp_path / "profiles.toml").write_bytes(profiles)
    line = load_in(tmp_path)
    assert line.startswith(f"clipes_core.errors.ConfigError: Prefect cannot use its settings ({reason}")
    assert f"{tmp_path}/profiles.toml" in line


def test_an_invalid_setting_is_reported_without_its_value(tmp_path):
    line = load_in(tmp_path, PREFECT_API_REQUEST_TIMEOUT="secret")
    assert "(ValidationError: request_timeout: Input should be a valid number" in line
    assert "secret" not in line


def test_the_profile_that_names_the_server_is_part_of_the_message(tmp_path):
    (tmp_path / "profiles.toml").write_text(f'active = "own"\n[profiles.own]\nPREFECT_API_URL = "{NOBODY}"\n')
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path)}
    environment.pop("PREFECT_API_URL", None)
    program = "from clipes.tasks.machine.prefect_server import url_setting; print(url_setting())"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"PREFECT_API_URL in the profile own of {tmp_path}/profiles.toml\n"


def test_the_environment_is_named_if_it_sets_the_server(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", NOBODY)
    assert url_setting() == "PREFECT_API_URL"


def translated(url):
    """Return the error that a request of Prefect's client to a server becomes."""
    with (
        temporary_settings({PREFECT_API_URL: url, "client.max_retries": 0}),
        pytest.raises(StageError) as raised,
        translate_prefect_errors("/here/log"),
        get_client(sync_client=True) as client,
    ):
        client.read_flows()
    return raised.value


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("401/api", "refused a request (GET /401/api/csrf-token: 401 Unauthorized): set PREFECT_API_AUTH_STRING"),
        ("500/api", "refused a request (GET /500/api/csrf-token: 500 Internal Server Error): its disk may be full"),
        ("404/api", "refused a request (POST /404/api/flows/filter: 404 Not Found): it must have the version"),
    ],
)
def test_a_refused_request_is_explained(web, path, message):
    assert f"the Prefect server at {web}/{path} {message}" in str(translated(f"{web}/{path}"))


def test_an_answer_that_is_no_json_is_explained(web):
    assert str(translated(f"{web}/api")).startswith("Prefect failed (JSONDecodeError: ")


def test_a_lost_server_is_named_without_its_password():
    error = translated("http://user:secret@127.0.0.1:9/api")
    assert isinstance(error, ServerLostError)
    assert str(error).startswith("the Prefect server at http://127.0.0.1:9/api stopped answering (ConnectError: ")


def test_errors_of_clipes_and_of_other_libraries_stay_unchanged():
    with pytest.raises(httpx.ConnectError), translate_prefect_errors():
        raise httpx.ConnectError("raised by this test, and not by httpx")
    with pytest.raises(ConfigError, match=r"^own$"), translate_prefect_errors():
        raise ConfigError("own")


def test_the_password_of_a_real_server_is_accepted(server):
    with temporary_settings({PREFECT_API_AUTH_STRING: "user:unneeded"}):
        assert find_fault(server) is None
