import hashlib
from contextlib import suppress

import pytest

from clipes.tasks.storage.checksums.seals import BLANK_SEAL, add_seal, check_seal, seal_file
from clipes_core.errors import BrokenArtifactError

CONTENT = f'{{"miou": 0.5, "seal": "{BLANK_SEAL}"}}'.encode()


def test_a_seal_is_the_sha256_of_the_content_with_zeros_in_its_place():
    expected = hashlib.sha256(CONTENT).hexdigest()
    assert add_seal(CONTENT) == f'{{"miou": 0.5, "seal": "clipes-sha256:{expected}"}}'.encode()
    assert check_seal("a.json", add_seal(CONTENT))


def test_every_changed_byte_is_found_unless_the_seal_itself_is_no_longer_recognised():
    content, unsealed = add_seal(CONTENT), set()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1
        with suppress(BrokenArtifactError):
            if not check_seal("a.json", bytes(damaged)):
                unsealed.add(position)
    start = content.index(b"clipes-sha256:")
    assert unsealed == set(range(start, start + len("clipes-sha256:")))


def test_the_error_names_the_file_and_says_what_to_do():
    with pytest.raises(BrokenArtifactError) as caught:
        check_seal("a.json", CONTENT)
    assert str(caught.value) == (
        "a.json cannot be read (it fails its checksum): delete it and run again; clipes will rebuild it"
    )


def test_a_file_without_a_seal_is_not_checked():
    assert not check_seal("a.json", b'{"miou": 0.5}')
    assert not check_seal("a.json", b"clipes-sha256:00")
    with pytest.raises(ValueError, match="has no seal"):
        add_seal(b'{"miou": 0.5}')


def test_the_last_seal_counts():
    twice = add_seal(CONTENT) + CONTENT
    assert check_seal("a.json", add_seal(twice))
    assert not add_seal(twice).endswith(CONTENT)


def test_a_seal_can_cover_only_the_end_of_a_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"any start" + CONTENT)
    seal_file(path, start=9)
    assert path.read_bytes() == b"any start" + add_seal(CONTENT)
