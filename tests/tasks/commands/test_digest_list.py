import hashlib
import subprocess

import pytest

from clipes.tasks.commands.digest_list import DigestList
from clipes_core.errors import UsageError

NAMES = ("a.txt", "b/c d.txt", "ä\\n.txt", "line\nend.txt")


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def listed(tmp_path):
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    digests = DigestList(str(tmp_path))
    for name in NAMES:
        digests.add(name, digest(name.encode()))
    digests.save()
    return tmp_path


def test_sha256sum_reads_the_list(listed):
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(command, cwd=listed, check=False, capture_output=True).stdout == b""
    (listed / NAMES[3]).write_bytes(b"changed")
    assert b"FAILED" in subprocess.run(command, cwd=listed, check=False, capture_output=True).stdout


def test_earlier_files_are_known_and_stay_in_the_list(listed):
    digests = DigestList(str(listed))
    assert all(digests.lists(name, digest(name.encode())) for name in NAMES)
    assert not digests.lists("a.txt", digest(b"other"))
    assert not digests.lists("other", digest(b"a.txt"))
    digests.add("a.txt", digest(b"new"))
    assert (digests.count, len(digests.earlier)) == (1, 3)
    digests.save()
    again = DigestList(str(listed))
    assert again.lists("a.txt", digest(b"new"))
    assert again.lists(NAMES[2], digest(NAMES[2].encode()))


@pytest.mark.parametrize(
    "damage", [lambda text: text.replace("a.txt", "b.txt"), lambda text: "mine\n", lambda text: ""]
)
def test_a_list_that_clipes_did_not_write_is_refused(listed, damage):
    path = listed / "SHA256SUMS"
    path.write_text(damage(path.read_text()))
    with pytest.raises(UsageError, match=r"SHA256SUMS was not written by clipes, or was changed since; name another"):
        DigestList(str(listed))


def test_announced_files_are_known_in_either_state_until_the_list_is_saved(listed):
    killed = DigestList(str(listed))
    killed.announce([("a.txt", digest(b"new")), ("d.txt", digest(b"d"))])
    killed.announce([("e.txt", digest(b"e"))])

    digests = DigestList(str(listed))
    assert all(digests.lists("a.txt", digest(content)) for content in (b"a.txt", b"new"))
    assert digests.lists("d.txt", digest(b"d"))
    assert digests.lists("e.txt", digest(b"e"))
    digests.announce([("f.txt", digest(b"f"))])
    for name, content in (("a.txt", b"newer"), ("f.txt", b"f")):
        digests.add(name, digest(content))
    digests.save()

    assert not (listed / "SHA256SUMS.parts").exists()
    again = DigestList(str(listed))
    assert again.earlier.keys() == {*NAMES, "d.txt", "e.txt", "f.txt"}
    assert again.earlier["a.txt"] == (digest(b"newer"),)


def test_a_part_that_clipes_did_not_write_is_refused(listed):
    DigestList(str(listed)).announce([("d.txt", digest(b"d"))])
    part = listed / "SHA256SUMS.parts" / "000001"
    part.write_text(part.read_text().replace("d.txt", "x.txt"))
    with pytest.raises(UsageError, match=r"000001 was not written by clipes, or was changed since; name another"):
        DigestList(str(listed))
