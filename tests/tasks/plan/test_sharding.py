import subprocess
import sys
from collections import Counter

import pytest
from support.plain_runs import photo

from clipes.tasks.plan.sharding import (
    FEWEST_SHARDS,
    MOST_PHOTOS,
    count_shards,
    divide_into_shards,
    is_doubled_or_halved,
    parent_shards,
    sample_of,
    shard_of,
)


def in_another_process(ids):
    code = f"from clipes.tasks.plan.sharding import shard_of; print([shard_of(i, 32) for i in {ids!r}])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_shard_of_a_photo_is_the_same_on_any_machine():
    ids = ["2007_000033", "a/b c", "köln", ""]
    assert [shard_of(image_id, 32) for image_id in ids] == [24, 5, 12, 20]
    assert in_another_process(ids) == str([shard_of(i, 32) for i in ids])


def test_shards_have_about_the_same_size():
    sizes = Counter(shard_of(f"2007_{number:06d}", 32) for number in range(10_582))

    assert sizes.keys() == set(range(32))
    # 10 582 / 32 = 331 photos on average, with a standard deviation of 18
    assert min(sizes.values()) > 331 - 4 * 18
    assert max(sizes.values()) < 331 + 4 * 18


def test_a_single_shard_holds_all_photos():
    assert {shard_of(str(number), 1) for number in range(50)} == {0}


def test_a_sample_does_not_depend_on_order_and_larger_ones_include_it():
    names = [f"photo {number}" for number in range(50)]
    ten = sample_of(names, 10)
    assert len(ten) == 10
    assert sample_of(reversed(names), 10) == ten
    assert ten < sample_of(names, 11)
    assert sample_of(names, 99) == set(names)
    assert sample_of(["a", "b", "c"], 1) == {"c"}  # the SHA-256 begins with 2e; those of a and b begin with ca and 3e


def test_shards_keep_the_order_of_photos_and_empty_shards_are_left_out():
    photos = [photo(name) for name in "fedcba"]
    shards = divide_into_shards(photos, 32)
    assert list(shards) == sorted({shard_of(name, 32) for name in "abcdef"})
    assert all(
        [each.image_id for each in own] == sorted((each.image_id for each in own), reverse=True)
        for own in shards.values()
    )
    assert divide_into_shards(photos, 1) == {0: tuple(photos)}
    assert divide_into_shards([], 32) == {}


@pytest.mark.parametrize(
    ("photos", "kept", "count"),
    [
        (32, None, 32),
        (40, None, 32),
        (32_000, None, 32),
        (32_001, None, 64),
        (64_000, None, 64),
        (2_000_000, None, 2048),
        (100, 64, 64),
        (10, 64, 8),  # the list has shrunk
        (15, 8, 8),
        (16, 8, 16),
        (8_000, 8, 32),
        (9, 5, 5),
        (10, 5, 10),
        (48_001, 48, 96),
        (300_000, 32, 512),
    ],
)
def test_the_automatic_number_is_doubled_until_the_shards_are_small_enough(photos, kept, count):
    assert count_shards("auto", photos, kept) == count
    assert photos <= MOST_PHOTOS * count


@pytest.mark.parametrize("photos", [0, 1, 2, 3, 31, 32, 33])
@pytest.mark.parametrize("stated", ["auto", 1, 7, 32, 4000])
def test_there_are_never_more_shards_than_photos(photos, stated):
    count = count_shards(stated, photos, kept=64)
    assert 1 <= count <= max(1, photos)
    if stated != "auto":
        assert count == stated if stated <= photos else 2 * count >= max(1, photos)


def test_the_parents_of_a_shard_had_its_photos_when_there_were_fewer_shards():
    assert parent_shards(100, 128) == [36, 4]
    assert parent_shards(40, 64) == [8]
    assert parent_shards(70, 96) == [22]
    assert parent_shards(29, FEWEST_SHARDS) == [13, 5, 1, 0]
    assert parent_shards(10, 20) == [0]
    assert parent_shards(5, 128) == parent_shards(5, 7) == parent_shards(0, FEWEST_SHARDS) == []
    for number in range(500):
        shard = shard_of(str(number), 512)
        for before in (32, 64, 128, 256):
            assert shard_of(str(number), before) in (shard, *parent_shards(shard, 512))


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (32, 64, True),
        (48, 192, True),
        (32, 32, False),
        (64, 32, True),
        (32, 1, True),
        (8, 16, True),
        (8, 64, False),
        (32, 96, False),
        (96, 32, False),
        (33, 64, False),
    ],
)
def test_numbers_that_were_doubled_or_halved_are_recognised(before, now, expected):
    assert is_doubled_or_halved(before, now) == expected
