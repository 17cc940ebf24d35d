import json
import os
import subprocess
import sys

import pytest
from prefect._internal.analytics.ci_detection import CI_ENV_VARS

from clipes.flows.prefect_settings import choose_settings

# The program prints whether Prefect's client may send usage data, and whether the server that clipes starts sends any.
READ_BACK = """
import json, urllib.request
import clipes.flows.cli
from prefect.analytics import is_telemetry_enabled
from clipes.flows.server import provide_server
def settings(url):
    return json.load(urllib.request.urlopen(f"{url}/admin/settings"))
with provide_server() as server:
    of_server = server.record(lambda _: settings(server.url))["server"]["analytics_enabled"]
print(json.dumps([is_telemetry_enabled(), of_server]))
"""


@pytest.mark.parametrize(
    ("given", "client_and_server"),
    [
        ({}, [False, False]),
        ({"DO_NOT_TRACK": "on", "PREFECT_SERVER_ANALYTICS_ENABLED": "true"}, [False, False]),
        ({"DO_NOT_TRACK": "0", "PREFECT_SERVER_ANALYTICS_ENABLED": "true"}, [True, True]),
    ],
)
@pytest.mark.slow
def test_client_and_server_of_prefect_send_no_usage_data_unless_both_are_allowed(tmp_path, given, client_and_server):
    left_out = {*CI_ENV_VARS, "DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED", "PREFECT_API_URL"}
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    command = [sys.executable, "-c", READ_BACK]
    done = subprocess.run(
        command,
        env={**environment, "PREFECT_HOME": str(tmp_path), "http_proxy": "http://127.0.0.1:9", **given},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == client_and_server


@pytest.mark.parametrize("wish", ["1", "true", "YES", " on ", "anything"])
def test_do_not_track_counts_in_any_spelling_and_also_for_the_server(wish):
    environment = {"DO_NOT_TRACK": wish, "PREFECT_SERVER_ANALYTICS_ENABLED": "true"}
    choose_settings(environment)
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


@pytest.mark.parametrize("wish", [{}, {"DO_NOT_TRACK": ""}])
def test_without_a_wish_nothing_is_tracked(wish):
    environment = dict(wish)
    choose_settings(environment)
    assert environment["DO_NOT_TRACK"] == "1"
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_the_environment_takes_precedence_over_the_defaults():
    given = {"DO_NOT_TRACK": "0", "PREFECT_LOGGING_INTERNAL_LEVEL": "DEBUG"}
    environment = dict(given)
    choose_settings(environment)
    assert given.items() <= environment.items()
