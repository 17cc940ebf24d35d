import io

import numpy as np
import pytest

from clipes.tasks.storage.checksums.blocks import BLOCK, DIGEST, Blocks, CheckedFile
from clipes_core.errors import BrokenArtifactError

CONTENT = np.random.default_rng(0).bytes(2 * BLOCK + 100)


@pytest.fixture
def blocks(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(CONTENT)
    return Blocks.of_file(path)


def test_the_checksums_survive_the_way_through_text(blocks):
    assert (blocks.length, len(blocks.digests)) == (len(CONTENT), 3 * DIGEST)
    assert Blocks.parse(str(blocks)) == blocks


def test_an_empty_file_has_no_blocks(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    assert Blocks.parse(str(Blocks.of_file(path))) == Blocks(0, b"")


@pytest.mark.parametrize("text", ["", "5", "5 ", "x AAAAAAAAAAA=", "5 AAAA", "5 ?AAAAAAAAAA=", "70000 AAAAAAAAAAA="])
def test_other_text_is_not_parsed(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the message is Python's
        Blocks.parse(text)


@pytest.mark.parametrize(
    ("part", "whole"),
    [
        ((0, 1), (0, BLOCK)),
        ((5, BLOCK), (0, BLOCK)),
        ((BLOCK, BLOCK + 1), (BLOCK, 2 * BLOCK)),
        ((BLOCK - 1, BLOCK + 1), (0, 2 * BLOCK)),
        ((2 * BLOCK + 5, 2 * BLOCK + 6), (2 * BLOCK, 2 * BLOCK + 100)),
    ],
)
def test_a_range_is_extended_to_whole_blocks(blocks, part, whole):
    assert blocks.around(*part) == whole


def test_a_file_reads_as_any_other(blocks):
    file = CheckedFile("a", io.BytesIO(CONTENT + b"footer"), blocks)
    assert file.read(10) == CONTENT[:10]
    assert file.read(BLOCK) == CONTENT[10 : BLOCK + 10]
    assert (file.tell(), file.seek(-50, io.SEEK_END)) == (BLOCK + 10, len(CONTENT) - 50)
    assert (file.read(), file.read(), file.read(5)) == (CONTENT[-50:], b"", b"")
    assert (file.seek(3), file.seek(4, io.SEEK_CUR), file.read(2)) == (3, 7, CONTENT[7:9])
    file.check_all()


def test_only_damage_in_the_blocks_that_are_read_is_found(blocks):
    damaged = bytearray(CONTENT)
    damaged[BLOCK + 7] ^= 1
    file = CheckedFile("a", io.BytesIO(damaged), blocks)

    assert file.read(BLOCK) == CONTENT[:BLOCK]
    with pytest.raises(BrokenArtifactError, match=r"^a cannot be read \(it fails its checksum\)"):
        file.read(1)
    with pytest.raises(BrokenArtifactError, match="fails its checksum"):
        file.check_all()
    file.seek(2 * BLOCK)
    assert file.read() == CONTENT[2 * BLOCK :]


@pytest.mark.parametrize("length", [0, BLOCK, 2 * BLOCK + 99])
def test_a_file_that_is_too_short_is_broken(blocks, length):
    file = CheckedFile("a", io.BytesIO(CONTENT[:length]), blocks)
    with pytest.raises(BrokenArtifactError, match="fails its checksum"):
        file.read()
