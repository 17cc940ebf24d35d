import errno
import os

import pyarrow as pa
import pytest

from clipes.tasks.storage.parquet.errors import translate_parquet_errors
from clipes_core.errors import BrokenArtifactError


@pytest.mark.parametrize(
    "error",
    [pa.ArrowInvalid("bad magic"), pa.ArrowNotImplementedError("odd"), OSError("bad checksum"), KeyError("a"), b"\xff"],
)
def test_errors_in_the_content_name_the_file(error):
    def fail():
        if isinstance(error, bytes):
            error.decode()
        raise error

    with (
        pytest.raises(BrokenArtifactError, match=r"^a cannot be read \("),
        translate_parquet_errors("a"),
    ):
        fail()


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, os.strerror(errno.EIO)), PermissionError("no"), MemoryError(), RuntimeError("no threads")],
)
def test_errors_of_the_host_are_not_reported_as_broken_content(error):
    with pytest.raises(type(error)) as caught, translate_parquet_errors("a"):
        raise error
    assert caught.value is error
