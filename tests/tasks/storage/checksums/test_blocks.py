import numpy as np
import pytest

from clipes.tasks.storage.checksums.blocks import BLOCK, DIGEST, Blocks
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


def test_a_range_is_checked_with_its_own_checksums(blocks):
    blocks.check("a", (BLOCK, 2 * BLOCK + 100), CONTENT[BLOCK:])
    damaged = bytearray(CONTENT)
    damaged[BLOCK + 7] ^= 1
    blocks.check("a", (0, BLOCK), bytes(damaged[:BLOCK]))
    with pytest.raises(BrokenArtifactError, match=r"^a cannot be read \(it fails its checksum\)"):
        blocks.check("a", (BLOCK, 2 * BLOCK), bytes(damaged[BLOCK : 2 * BLOCK]))


@pytest.mark.parametrize("length", [0, BLOCK, 2 * BLOCK + 99])
def test_content_that_is_too_short_is_broken(blocks, length):
    with pytest.raises(BrokenArtifactError, match="fails its checksum"):
        blocks.check("a", (0, len(CONTENT)), CONTENT[:length])
