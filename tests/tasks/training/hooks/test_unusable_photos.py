from types import SimpleNamespace

import pytest

from clipes.tasks.training.data.cached_files import FileRead
from clipes.tasks.training.data.read_counts import ReadCounts
from clipes.tasks.training.hooks.unusable_photos import UnusablePhotosHook
from clipes_core.errors import StageError


def sample(*reads, unusable=()):
    return SimpleNamespace(reads=reads, unusable=unusable)


def test_the_reads_of_each_batch_are_counted():
    reads = ReadCounts()
    hook = UnusablePhotosHook(reads, photos=10, max_failure_rate=0.2, tolerated_failures=0)
    first, second = sample(FileRead("local", 9, 0.25)), sample(FileRead("hit", 7, 0.125), unusable=("b",))
    hook.before_train_iter(None, 0, {"data_samples": [first, second]})
    hook.before_train_iter(None, 1, {"data_samples": [sample(FileRead("local", 5, 0.5), unusable=("a",))]})
    counted = reads.plain()
    assert (counted["local"], counted["hit"], counted["unusable_photos"]) == (2, 1, ["a", "b"])


@pytest.mark.parametrize(("rate", "tolerated"), [(0.2, 0), (0.01, 2)])
def test_more_unusable_photos_than_permitted_stop_the_training(rate, tolerated):
    hook = UnusablePhotosHook(ReadCounts(), photos=10, max_failure_rate=rate, tolerated_failures=tolerated)
    for place, unusable in enumerate((("b: gone", "a: gone"), ("a: gone",), ())):
        hook.before_train_iter(None, place, {"data_samples": [sample(unusable=unusable)]})
    told = rf"^3 of 10 photos are unusable, more than 2, the limit of .+_rate={rate} and .+={tolerated}; .+ a: gone\n"
    with pytest.raises(StageError, match=told):
        hook.before_train_iter(None, 3, {"data_samples": [sample(), sample(unusable=("c: gone",))]})
