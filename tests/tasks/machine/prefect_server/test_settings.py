import os
import subprocess
import sys

import pytest
from support.input_cases.servers import NOBODY
from support.permissions import unprivileged

from clipes.tasks.machine.prefect_server.settings import check_home, url_setting
from clipes_core.errors import ConfigError

LOAD = "from clipes.tasks.machine.prefect_server.settings import load_prefect; load_prefect()"


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
    program = "from clipes.tasks.machine.prefect_server.settings import url_setting; print(url_setting())"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"PREFECT_API_URL in the profile own of {tmp_path}/profiles.toml\n"


def test_the_environment_is_named_if_it_sets_the_server(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", NOBODY)
    assert url_setting() == "PREFECT_API_URL"
