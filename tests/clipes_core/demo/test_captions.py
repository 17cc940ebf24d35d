import re

import numpy as np
import pytest

from clipes_core.demo.captions import BACKGROUND_WORDS, CLASS_WORDS, make_caption
from clipes_core.demo.scenes import CLASS_NAMES, COLOURS, make_scene

TEMPLATES = ("a photo of a {}.", "the {} in a video game.")


@pytest.fixture(scope="module")
def captioned():
    """Return scenes with twenty captions each."""
    pairs = []
    for index in range(100):
        rng = np.random.default_rng([9, index])
        scene = make_scene(rng, 32)
        pairs += [(scene, make_caption(rng, scene, TEMPLATES)) for _ in range(20)]
    return pairs


def words(caption):
    return set(re.findall(r"[a-z]+", caption))


def test_every_class_and_background_has_two_synonyms():
    assert tuple(CLASS_WORDS) == CLASS_NAMES
    assert all(len(set(synonyms)) >= 2 for synonyms in (*CLASS_WORDS.values(), *BACKGROUND_WORDS.values()))


def test_a_caption_mentions_only_what_the_scene_shows(captioned):
    for scene, caption in captioned:
        shown = {word for one in scene.objects for word in CLASS_WORDS[one.name]}
        named = words(caption) & {word for synonyms in CLASS_WORDS.values() for word in synonyms}
        places = words(caption) & {word for synonyms in BACKGROUND_WORDS.values() for word in synonyms}
        assert named <= shown, caption
        assert places <= set(BACKGROUND_WORDS[scene.background]), caption
        assert words(caption) & set(COLOURS) <= {one.colour for one in scene.objects}, caption
        assert named or places, caption


def test_captions_mention_objects_colours_and_backgrounds_in_varying_number(captioned):
    several = [(scene, words(caption)) for scene, caption in captioned if len({o.name for o in scene.objects}) == 3]
    counts = [sum(bool(said & set(CLASS_WORDS[o.name])) for o in scene.objects) for scene, said in several]
    assert {0, 1, 2, 3} == set(counts)
    places = {word for synonyms in BACKGROUND_WORDS.values() for word in synonyms}
    for some in (places, set(COLOURS)):
        assert 0.2 < np.mean([bool(words(caption) & some) for _, caption in captioned]) < 0.6


def test_captions_use_every_template_or_none(captioned):
    captions = [caption for _, caption in captioned]
    shares = [
        np.mean([re.search(pattern, caption) is not None for caption in captions])
        for pattern in ("^a photo of", "game.$")
    ]
    assert all(0.35 < share < 0.55 for share in shares)
    assert sum(shares) < 0.95


def test_the_same_random_numbers_give_the_same_caption():
    scene = make_scene(np.random.default_rng(1), 32)
    one, same = (make_caption(np.random.default_rng(2), scene, TEMPLATES) for _ in range(2))
    assert one == same
