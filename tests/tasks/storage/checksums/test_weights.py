import hashlib

import pytest

from clipes.tasks.storage.checksums.weights import check_weights, describe_weights
from clipes.tasks.storage.files import write_file
from clipes.tasks.storage.layout import weights_uri
from clipes_core.errors import BrokenArtifactError

CONTENT = bytes(range(256)) * 5000  # larger than one read


@pytest.fixture
def artifact(place):
    """Return the URI of an artifact that has a weights file next to it."""
    uri = f"{place}/000-a.parquet"
    write_file(weights_uri(uri), CONTENT)
    return uri


def test_weights_are_described_by_size_and_digest(artifact):
    assert describe_weights(artifact) == f"1280000 {hashlib.sha256(CONTENT).hexdigest()}"


def test_intact_weights_pass_both_checks(artifact):
    for whole in (False, True):
        check_weights(artifact, describe_weights(artifact), whole)


def test_truncated_and_missing_weights_are_found_by_the_cheap_check(artifact):
    stated = describe_weights(artifact)
    write_file(weights_uri(artifact), CONTENT[:-1])
    for uri in (artifact, artifact.replace("000-a", "000-b")):
        with pytest.raises(BrokenArtifactError, match="has no weights file of the expected size next to it"):
            check_weights(uri, stated, whole=False)


def test_a_flipped_bit_is_found_only_by_the_full_check(artifact):
    stated = describe_weights(artifact)
    write_file(weights_uri(artifact), CONTENT[:-1] + b"\0")
    check_weights(artifact, stated, whole=False)
    with pytest.raises(BrokenArtifactError, match="has a damaged weights file next to it"):
        check_weights(artifact, stated, whole=True)
