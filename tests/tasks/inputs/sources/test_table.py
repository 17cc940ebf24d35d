import os

import pytest
from support.permissions import unprivileged

from clipes.tasks.inputs.sources.source import CONTENT, FIRST_PLAUSIBLE_TIME
from clipes.tasks.inputs.sources.table import find_files, read_listed
from clipes.tasks.storage.files import write_file
from clipes_core.errors import PhotoError


@pytest.mark.parametrize("time", [1, FIRST_PLAUSIBLE_TIME - 1, FIRST_PLAUSIBLE_TIME])
def test_files_with_an_implausible_time_are_identified_by_their_content(tmp_path, time):
    fingerprints = []
    for folder, content in {"old": b"old", "copy": b"old", "new": b"new"}.items():
        path = tmp_path / folder / "a"
        write_file(str(path), content)
        os.utime(path, (time, time))
        found = find_files([str(path)]).files[str(path)]
        assert (found.size_bytes, read_listed(str(path), found.fingerprint)) == (3, content)
        assert found.fingerprint.startswith(CONTENT) == (time < FIRST_PLAUSIBLE_TIME)
        fingerprints.append(found.fingerprint)
    old, copy, new = fingerprints
    assert old == copy
    assert (old == new) == (time == FIRST_PLAUSIBLE_TIME)


def test_a_changed_file_that_was_identified_by_its_content_is_refused(tmp_path):
    uri = str(tmp_path / "a")
    write_file(uri, b"old")
    os.utime(uri, (1, 1))
    fingerprint = find_files([uri]).files[uri].fingerprint
    write_file(uri, b"new")
    os.utime(uri, (1, 1))
    with pytest.raises(PhotoError, match="has changed since the run listed it"):
        read_listed(uri, fingerprint)


def test_a_file_that_cannot_be_read_keeps_its_fingerprint(tmp_path):
    write_file(str(tmp_path / "a"), b"old")
    os.utime(tmp_path / "a", (1, 1))
    (tmp_path / "a").chmod(0)
    tmp_path.chmod(0o755)
    with unprivileged(tmp_path):
        found = find_files([str(tmp_path / "a")])
    assert found.files[str(tmp_path / "a")].fingerprint == "3-1000000000"
