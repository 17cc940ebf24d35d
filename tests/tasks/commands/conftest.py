"""Empty stores on each kind of file system."""

import uuid

import pytest

from clipes.tasks.storage.artifact_store import ArtifactStore


@pytest.fixture(params=["path", "memory", "s3"])
def store(request, tmp_path):
    if request.param == "s3":
        return ArtifactStore(f"{request.getfixturevalue('s3_folder')}/mein läger")
    uris = {"path": str(tmp_path / "mein läger"), "memory": f"memory://{uuid.uuid4()}/mein läger"}
    return ArtifactStore(uris[request.param])


@pytest.fixture
def local(tmp_path):
    return ArtifactStore(str(tmp_path / "store"))
