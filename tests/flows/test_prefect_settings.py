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


DURING_A_RUN = """
import logging, os
{first}
from clipes.flows.prefect_settings import use_settings

before = dict(os.environ)
try:
    with use_settings():
        from prefect.analytics import is_telemetry_enabled
        from prefect.settings import PREFECT_LOGGING_INTERNAL_LEVEL
        logging.getLogger("prefect.engine").error("during the block")
        print(PREFECT_LOGGING_INTERNAL_LEVEL.value(), is_telemetry_enabled())
        print(os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"], os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"])
        os.environ["NO_PROXY"] = "127.0.0.1"
        raise KeyError("an error of the run")
except KeyError:
    print(PREFECT_LOGGING_INTERNAL_LEVEL.value(), dict(os.environ) == before)
logging.getLogger("prefect.engine").error("after the block")
"""


def printed_during_a_run(first, **variables):
    """Run the script in a new process; return its lines on standard output, and its standard error."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DO_NOT", "CI"))}
    command = [sys.executable, "-c", DURING_A_RUN.format(first=first)]
    done = subprocess.run(command, env={**kept, **variables}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "import prefect"])
def test_the_settings_apply_only_during_the_block(first, tmp_path):
    lines, errors = printed_during_a_run(first, PREFECT_HOME=str(tmp_path))
    assert lines == ["CRITICAL False", "CRITICAL false", "ERROR True"]
    assert "during the block" not in errors
    assert "after the block" in errors


@pytest.mark.slow
def test_the_users_variables_take_precedence(tmp_path):
    levels = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR", "PREFECT_LOGGING_INTERNAL_LEVEL": "DEBUG"}
    lines, errors = printed_during_a_run("import prefect", PREFECT_HOME=str(tmp_path), **levels)
    assert lines == ["DEBUG False", "ERROR false", "DEBUG True"]
    assert "during the block" in errors
