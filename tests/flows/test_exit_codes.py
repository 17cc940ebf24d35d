import errno
import os

import pytest

from clipes.flows.exit_codes import FAILED, code_of_state, exit_codes


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.EFBIG, os.strerror(errno.EFBIG)),
            "clipes: a file exceeds the limit of this process or of the d",
        ),
        (OSError(errno.EIO, "bad sector", "/a"), "clipes: OSError: [Errno 5] bad sector: '/a'\n"),
    ],
)
def test_an_error_of_the_system_is_one_line_that_says_what_to_do(capsys, error, message):
    with pytest.raises(SystemExit) as ended, exit_codes():
        raise error
    assert ended.value.code == FAILED
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize(
    ("state", "code"), [("completed", 0), ("running", 3), ("failed", 1), ("cancelled", 1), ("interrupted", 1)]
)
def test_the_exit_code_of_status_says_whether_to_wait(state, code):
    assert code_of_state(state) == code


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["run", "a.yaml"], "interrupted; finished work is kept: run the same command again to resume"),
        (["estimate", "a.yaml"], "interrupted: run the same command again, which measures the sample from its start"),
    ],
)
def test_an_interrupted_command_says_what_the_same_command_will_do(monkeypatch, capsys, arguments, advice):
    monkeypatch.setattr("sys.argv", ["clipes", *arguments])
    with pytest.raises(SystemExit) as ended, exit_codes():
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr().err == f"clipes: {advice}\n"
