import re

import numpy as np
import pytest

from clipes_core.demo.captions import BACKGROUND_WORDS, CLASS_WORDS, make_caption
from clipes_core.demo.scenes import CLASS_NAMES, COLOURS, make_scene
from clipes_core.demo.template_uses import TemplateUse

USES = (TemplateUse("a photo of a {}."), TemplateUse("the {} in a video game."))
CLASSES = {word: name for name, synonyms in CLASS_WORDS.items() for word in synonyms}


@pytest.fixture(scope="module")
def captioned():
    """Return scenes with twenty captions each."""
    pairs = []
    for index in range(100):
        rng = np.random.default_rng([9, index])
        scene, other = make_scene(rng, 32), make_scene(rng, 32)
        pairs += [(scene, make_caption(rng, scene, other, USES)) for _ in range(20)]
    return pairs


@pytest.fixture(scope="module")
def varied():
    """Return 12 000 scenes, each with another scene and the caption that uses one of four different templates."""
    uses = (
        TemplateUse("often {}", weight=8),
        TemplateUse("seldom {}"),
        TemplateUse("never {}", weight=0),
        TemplateUse("doubtful {}", weight=3, reliability=0.5),
        TemplateUse("alone {}", weight=4, reliability=0.5, single=True),
    )
    rng = np.random.default_rng(5)
    scenes = [make_scene(rng, 32) for _ in range(150)]
    chosen = [(scenes[number % 150], scenes[int(rng.integers(150))]) for number in range(12_000)]
    return [(scene, other, make_caption(rng, scene, other, uses)) for scene, other in chosen]


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
    one, same = (make_caption(np.random.default_rng(2), scene, scene, USES) for _ in range(2))
    assert one == same


def starts(varied, several):
    """Return the share of each first word among the captions of scenes with several objects, or with one."""
    firsts = [text.split()[0] for scene, _, text in varied if (len(scene.objects) > 1) == several]
    known = ("often", "seldom", "never", "doubtful", "alone")
    return {first: np.mean([each == first for each in firsts]) for first in known}


def test_templates_are_used_as_often_as_their_weights_say(varied):
    shares = {"often": 8, "seldom": 1, "never": 0, "doubtful": 3, "alone": 4}
    for first, share in starts(varied, several=False).items():
        assert share == pytest.approx(0.9 * shares[first] / 16, abs=0.025)
    for first, share in starts(varied, several=True).items():
        assert share == pytest.approx(0.0 if first == "alone" else 0.9 * shares[first] / 12, abs=0.025)


def test_a_template_for_single_objects_never_comes_with_several(varied):
    alone = [(scene, words(text)) for scene, _, text in varied if text.startswith("alone")]
    assert len(alone) > 1000
    for scene, said in alone:
        assert len(scene.objects) == 1
        assert len({CLASSES[word] for word in said & set(CLASSES)}) <= 1


def test_an_unreliable_template_often_describes_the_other_scene(varied):
    for first, expected in (("often", 1.0), ("seldom", 1.0), ("doubtful", 0.5), ("alone", 0.5)):
        rights = []
        for scene, other, text in varied:
            classes = [{one.name for one in each.objects} for each in (scene, other)]
            named = {CLASSES[word] for word in words(text) & set(CLASSES)}
            if text.startswith(first) and named and not classes[0] & classes[1]:  # only one of the scenes can be meant
                assert named <= classes[0] or named <= classes[1], text
                rights.append(named <= classes[0])
        assert np.mean(rights) == pytest.approx(expected, abs=0.05)


def test_a_scene_that_suits_no_template_is_described_without_one():
    rng = np.random.default_rng(3)
    scenes = [make_scene(rng, 32) for _ in range(60)]
    for scene in scenes:
        caption = make_caption(rng, scene, scenes[0], [TemplateUse("alone {}", single=True)])
        assert len(scene.objects) == 1 or not caption.startswith("alone")
