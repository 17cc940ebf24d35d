import numpy as np

import clipes
from clipes.tasks.inputs.datasets.scenes import SCENE_SIZE


def test_a_demo_photo_shows_its_labels_which_the_demos_masker_knows():
    image, labels = clipes.demo_photo(3)
    assert image.size == (SCENE_SIZE, SCENE_SIZE)
    masker = clipes.Masker("scenes", model="demo")
    assert set(labels) <= set(masker.classes)
    assert masker(image, labels).foreground > 0


def test_each_number_has_a_photo_of_its_own_and_always_the_same_one():
    first, again, other = (clipes.demo_photo(number) for number in (0, 0, 1))
    assert (np.asarray(first[0]) == np.asarray(again[0])).all()
    assert first[1] == again[1]
    assert (np.asarray(first[0]) != np.asarray(other[0])).any()
