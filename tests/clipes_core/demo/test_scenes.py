import numpy as np
import pytest

from clipes_core.demo.backgrounds import BACKGROUNDS
from clipes_core.demo.scenes import CLASS_NAMES, COLOURS, MAX_OVERLAP, OWN_BACKGROUND, make_scene

SIZE = 96


@pytest.fixture(scope="module")
def scenes():
    return [make_scene(np.random.default_rng([4, index]), SIZE) for index in range(1000)]


def test_the_same_random_numbers_give_the_same_scene():
    one, same, other = (make_scene(np.random.default_rng([4, index]), SIZE) for index in (7, 7, 8))
    assert (one.image_rgb == same.image_rgb).all()
    assert (one.truth == same.truth).all()
    assert one.objects == same.objects
    assert (one.image_rgb != other.image_rgb).any()


def test_pictures_are_rgb_and_truth_holds_the_classes_of_the_objects(scenes):
    for scene in scenes:
        assert scene.image_rgb.shape == (SIZE, SIZE, 3)
        assert scene.image_rgb.dtype == scene.truth.dtype == np.uint8
        assert scene.truth.shape == (SIZE, SIZE)
        assert set(np.unique(scene.truth)) - {0} == {CLASS_NAMES.index(one.name) + 1 for one in scene.objects}


def test_scenes_have_one_to_three_objects(scenes):
    counts = np.array([len(scene.objects) for scene in scenes])
    assert set(counts) == {1, 2, 3}
    assert (counts >= 2).mean() >= 0.4


def test_objects_cover_5_to_40_percent_and_hide_at_most_a_fifth_of_another(scenes):
    areas = np.array([one.area for scene in scenes for one in scene.objects])
    hidden = np.array([one.hidden for scene in scenes for one in scene.objects])
    assert areas.min() >= 0.05
    assert areas.max() <= 0.4
    assert areas.min() < 0.07
    assert areas.max() > 0.3
    assert hidden.max() <= MAX_OVERLAP == 0.2
    assert hidden.max() > 0.15
    assert all(scene.objects[-1].hidden == 0 for scene in scenes)


def test_visible_pixels_are_in_the_truth(scenes):
    for scene in scenes[:200]:
        visible = sum(one.area * (1 - one.hidden) for one in scene.objects)
        assert (scene.truth > 0).mean() == pytest.approx(visible, abs=1e-6)


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_60_percent_of_objects_stand_on_the_background_of_their_class(scenes, name):
    places = [scene.background for scene in scenes for one in scene.objects if one.name == name]
    assert len(places) > 120
    assert np.mean([place == OWN_BACKGROUND[name] for place in places]) == pytest.approx(0.6, abs=0.12)
    assert set(places) == set(BACKGROUNDS)


def test_objects_of_every_class_occur_in_all_colours(scenes):
    seen = {(one.name, one.colour) for scene in scenes for one in scene.objects}
    assert seen == {(name, colour) for name in CLASS_NAMES for colour in COLOURS}


def test_an_object_differs_from_the_background_around_it(scenes):
    contrast = [
        np.abs(scene.image_rgb[scene.truth > 0].mean(axis=0) - scene.image_rgb[scene.truth == 0].mean(axis=0)).max()
        for scene in scenes
    ]
    assert np.median(contrast) > 25
