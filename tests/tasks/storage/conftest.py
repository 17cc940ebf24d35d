import uuid

import pytest

from clipes.tasks.storage.run_files import RunFiles


@pytest.fixture(params=["path", "file", "memory", "s3"])
def place(request, tmp_path):
    """Return the URI of an empty folder on each kind of file system, named with a space and a non-ASCII letter."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_folder')}/mein läger"
    path = tmp_path / "mein läger"
    return {"path": str(path), "file": f"file://{path}", "memory": f"memory://{uuid.uuid4()}/mein läger"}[request.param]


@pytest.fixture
def files(place):
    """Return the files of a run in a store on each kind of file system."""
    return RunFiles(place, "my run")
