import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings
from support.input_cases.servers import NOBODY

from clipes.tasks.machine.prefect_server.errors import LOG_IN
from clipes.tasks.machine.prefect_server.faults import find_fault


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


def test_the_password_of_a_real_server_is_accepted(server):
    with temporary_settings({PREFECT_API_AUTH_STRING: "user:unneeded"}):
        assert find_fault(server) is None
