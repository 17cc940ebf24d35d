from types import SimpleNamespace

from tasks.training.cached_files import FileRead
from tasks.training.reads import Reads, ReadsHook


def sample(*reads, unusable=()):
    return SimpleNamespace(reads=reads, unusable=unusable)


def test_nothing_read_counts_nothing():
    expected = {"local": 0, "hit": 0, "fetched": 0, "fetched_mb": 0.0, "read_seconds": 0.0, "unusable_photos": []}
    assert Reads().plain() == expected


def test_files_of_all_samples_are_counted_by_where_they_came_from():
    reads = Reads()
    hook = ReadsHook(reads)
    first = sample(FileRead("fetched", 1_500_000, 0.5), FileRead("local", 9_000_000, 0.25))
    second = sample(FileRead("hit", 1_500_000, 0.125), unusable=("b", "a"))
    hook.before_train_iter(None, 0, {"data_samples": [first, second]})
    hook.before_train_iter(None, 1, {"data_samples": [sample(FileRead("fetched", 500_000, 0.125), unusable=("a",))]})

    assert reads.plain() == {
        "local": 1,
        "hit": 1,
        "fetched": 2,
        "fetched_mb": 2.0,
        "read_seconds": 1.0,
        "unusable_photos": ["a", "b"],
    }
