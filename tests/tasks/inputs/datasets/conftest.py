"""Hand-made data sets, in local folders and in other stores."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import fsspec
import pytest

from clipes_core.vocabulary import ClassEntry, Vocabulary


@dataclass(frozen=True)
class Folder:
    """A folder under any fsspec URI."""

    uri: str

    def write(self, files: Mapping[str, str | bytes]) -> None:
        fs, path = fsspec.core.url_to_fs(self.uri)
        for name, content in files.items():
            fs.makedirs(fs._parent(f"{path}/{name}"), exist_ok=True)
            fs.pipe_file(f"{path}/{name}", content.encode() if isinstance(content, str) else content)


@pytest.fixture
def local(tmp_path) -> Folder:
    """Return an empty local folder."""
    (tmp_path / "data").mkdir()
    return Folder(f"{tmp_path}/data")


@pytest.fixture(params=["local", "memory"])
def folder(request, local) -> Iterator[Folder]:
    """Yield an empty folder, once on the local disk and once under memory://."""
    if request.param == "local":
        yield local
        return
    fs = fsspec.filesystem("memory")
    fs.makedirs("/data", exist_ok=True)
    yield Folder("memory://data")
    fs.rm("/data", recursive=True)


@pytest.fixture
def s3_data(s3_folder) -> Folder:
    """Return an empty folder on a real S3 server."""
    return Folder(f"{s3_folder}/my data")


@pytest.fixture
def animals() -> Vocabulary:
    """Return a vocabulary: 1 dog, 2 cat, 3 sofa (alias couch), 4 traffic light."""
    names = (ClassEntry(name="dog"), ClassEntry(name="cat"), ClassEntry(name="sofa", aliases=("couch",)))
    return Vocabulary(classes=(*names, ClassEntry(name="traffic light")))
