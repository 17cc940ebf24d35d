"""Damaged photos and true masks: each one is used, or is rejected with a reason that names it."""

import pytest
from support.decoding_fuzz import fuzz

MEMORY_MIB = 192  # no photo has more than 2 million pixels


@pytest.mark.parametrize(
    ("seed", "count"), [(0, 1000), *(pytest.param(seed, 5000, marks=pytest.mark.slow) for seed in range(1, 5))]
)
def test_a_damaged_photo_or_true_mask_is_used_or_rejected(tmp_path, seed, count):
    found = fuzz(seed, count, tmp_path)
    assert found["wrong"] == []
    assert found["shown"] == []
    assert found["memory_mib"] < MEMORY_MIB
    assert found["outcomes"]["used"] + found["outcomes"]["rejected"] == 2 * count  # a photo and a true mask each
    assert min(found["outcomes"].values()) > 0.1 * count
