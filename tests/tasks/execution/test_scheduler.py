import pytest

from clipes.tasks.execution.scheduler import group_label, shard_groups


@pytest.mark.parametrize(
    ("shards", "groups", "size"), [(1, 1, 1), (2000, 2000, 1), (2001, 1001, 2), (8000, 2000, 4), (100_000, 2000, 50)]
)
def test_shards_are_grouped_only_if_there_are_too_many_of_them(shards, groups, size):
    found = shard_groups(range(shards), shards)
    assert len(found) == groups
    assert max(map(len, found)) == size
    assert [shard for group in found for shard in group] == list(range(shards))


def test_groups_of_all_stages_have_the_same_bounds():
    assert shard_groups([0, 1, 3, 4, 9], 8000) == [(0, 1, 3), (4,), (9,)]
    assert shard_groups([2, 9], 8000) == [(2,), (9,)]
    assert shard_groups([], 8000) == []


@pytest.mark.parametrize(
    ("group", "count", "label"),
    [
        ((7,), 32, "007/032"),
        ((0,), 1, "000/001"),
        ((999,), 2000, "0999/2000"),
        ((0, 1, 3), 8000, "0000-0003/8000"),
        ((99_950, 99_999), 100_000, "099950-099999/100000"),
    ],
)
def test_a_group_label_names_its_shards_and_their_number(group, count, label):
    assert group_label(group, count) == label
