import subprocess
import sys
from collections import Counter

from support.plain_runs import photo

from clipes.tasks.plan.sharding import divide_into_shards, sample_of, shard_of


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
