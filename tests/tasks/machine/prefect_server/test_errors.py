import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from clipes.tasks.machine.prefect_server.errors import translate_prefect_errors
from clipes_core.errors import ConfigError, ServerLostError, StageError


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
