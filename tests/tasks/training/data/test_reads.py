from types import SimpleNamespace

import pytest

from clipes.tasks.training.data.cached_files import FileRead
from clipes.tasks.training.data.reads import Reads, ReadsHook
from clipes_core.errors import StageError


def sample(*reads, unusable=()):
    return SimpleNamespace(reads=reads, unusable=unusable)


def test_all_counts_start_at_zero():
    expected = {"local": 0, "hit": 0, "fetched": 0, "fetched_mb": 0.0, "read_seconds": 0.0, "unusable_photos": []}
    assert Reads().plain() == expected


def test_files_are_counted_by_their_source():
    reads = Reads()
    hook = ReadsHook(reads, photos=10, max_failure_rate=0.2)
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


def test_more_unusable_photos_than_permitted_stop_the_training():
    hook = ReadsHook(Reads(), photos=10, max_failure_rate=0.2)
    for place, unusable in enumerate((("b: gone", "a: gone"), ("a: gone",), ())):
        hook.before_train_iter(None, place, {"data_samples": [sample(unusable=unusable)]})
    told = r"^3 of 10 photos are unusable, more than execution\.max_failure_rate 0\.2 permits; .+ a: gone\n"
    with pytest.raises(StageError, match=told):
        hook.before_train_iter(None, 3, {"data_samples": [sample(), sample(unusable=("c: gone",))]})
