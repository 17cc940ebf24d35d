import errno
import os

import pytest

from clipes.flows.exit_codes import FAILED, exit_codes


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
