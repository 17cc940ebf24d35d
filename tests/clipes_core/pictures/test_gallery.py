import itertools
import math

import pytest

from clipes_core.pictures.gallery import GalleryChoice, Picks

# sha256 begins with: d 18, f 25, c 2e, b 3e, e 3f, a ca, g cd
BY_HASH = "dfcbeag"


def picks(count, scores):
    choice = GalleryChoice(count)
    for image_id, score in scores.items():
        choice.add(image_id, score)
    return choice.picks()


def test_a_third_are_the_best_a_third_the_worst_and_the_rest_go_by_hash():
    scores = {"a": 0.9, "b": 0.1, "c": 0.5, "d": 0.6, "e": 0.8, "f": 0.2, "g": 0.4}
    assert picks(6, scores) == Picks(best=("a", "e"), worst=("b", "f"), random=("d", "c"))


def test_if_all_photos_are_shown_none_is_shown_twice():
    scores = {"a": 0.9, "b": 0.1, "c": 0.5, "d": 0.6}
    assert picks(24, scores) == Picks(best=("a",), worst=("b",), random=("d", "c"))


def test_photos_without_a_score_are_only_picked_at_random():
    assert picks(3, {"a": math.nan, "b": math.nan, "c": 0.5}) == Picks((), (), ("c", "b", "a"))


def test_ties_are_ordered_by_hash_and_no_photo_is_both_best_and_worst():
    assert picks(3, dict.fromkeys("abcdefg", 0.5)) == Picks(best=("d",), worst=("g",), random=("f",))


def test_photos_that_are_left_out_are_counted_but_not_chosen():
    choice = GalleryChoice(3, left_out=["a", "b"])
    for image_id, score in {"a": 0.9, "b": 0.1, "c": 0.5, "d": 0.6, "e": 0.8}.items():
        choice.add(image_id, score)
    assert choice.picks() == Picks(best=("e",), worst=("c",), random=("d",))
    assert choice.photos == 5


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_picks_are_all_random(count):
    assert picks(count, {"a": 0.9, "b": 0.1, "d": 0.5}) == Picks((), (), tuple("db"[:count]))


def test_no_photos_give_no_picks():
    assert picks(24, {}) == Picks((), (), ())


def test_the_order_of_the_photos_does_not_matter():
    scores = {"a": 0.9, "b": 0.1, "c": 0.5, "d": 0.6, "e": 0.6}
    expected = picks(3, scores)
    assert expected == Picks(best=("a",), worst=("b",), random=("d",))
    for order in itertools.permutations(scores):
        assert picks(3, {image_id: scores[image_id] for image_id in order}) == expected


def test_memory_does_not_grow_with_the_number_of_photos():
    choice = GalleryChoice(6)
    for number in range(5000):
        choice.add(str(number), number / 5000)
        assert max(map(len, choice._kept.values())) <= 12
    found = choice.picks()
    assert (found.best, found.worst) == (("4999", "4998"), ("0", "1"))
    assert len(found.random) == 2
