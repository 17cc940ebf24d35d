"""Random captions of the demo's scenes.

Most captions describe only a part of the picture. Captions by people also describe only a part.
"""

from collections.abc import Sequence

import numpy as np

from clipes_core.demo.scenes import Scene, SceneObject
from clipes_core.demo.template_uses import TemplateUse

CLASS_WORDS = {
    "car": ("car", "automobile"),
    "bus": ("bus", "coach"),
    "boat": ("boat", "ship"),
    "house": ("house", "cottage"),
    "bird": ("bird", "avian"),
    "fish": ("fish", "goldfish"),
    "balloon": ("balloon", "airship"),
    "cat": ("cat", "kitten"),
}
BACKGROUND_WORDS = {
    "water": ("water", "sea"),
    "road": ("road", "street"),
    "grass": ("grass", "meadow"),
    "sky": ("sky", "clouds"),
    "sand": ("sand", "beach"),
    "wall": ("wall", "bricks"),
}
OBJECTS_RATE = 0.85  # share of the captions that name objects; the others name only the background
BACKGROUND_RATE = 0.35  # share of the captions with objects that also name the background
COLOUR_RATE = 0.3  # share of the named objects that are named with their colour
BARE_RATE = 0.1  # share of the captions that are not inserted into a template
JOINTS = (" and ", ", ", " with ", " next to ")
PLACE_JOINTS = (" on ", " in front of ", " and ")

Rng = np.random.Generator


def make_caption(rng: Rng, scene: Scene, other: Scene, uses: Sequence[TemplateUse]) -> str:
    """Write a random caption of a scene.

    Most captions name one or more objects of the scene. Such a caption can give colours of the objects, and can
    name the background as well. The other captions name only the background. Most captions are inserted into a random
    template. The words of an unreliable template can describe the other scene instead.

    Args:
        rng: source of all randomness.
        scene: scene that the caption describes.
        other: any other scene.
        uses: templates and how captions use them. If the scene shows several objects and all templates with a weight
            are for single objects, the caption consists of the words alone.
    """
    use = _template(rng, scene, uses)
    if use is None:
        return _phrase(rng, scene)
    right = rng.random() < use.reliability
    words = _phrase(rng, scene if right else other, most=1 if use.single else None)
    return use.template.replace("{}", words)


def _template(rng: Rng, scene: Scene, uses: Sequence[TemplateUse]) -> TemplateUse | None:
    """Choose one of the templates that suit the scene. Return None for a caption without a template."""
    several = len(scene.objects) > 1
    weights = np.cumsum([0.0 if use.single and several else use.weight for use in uses])
    if rng.random() < BARE_RATE or not weights[-1]:
        return None
    return uses[int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))]


def _phrase(rng: Rng, scene: Scene, most: int | None = None) -> str:
    """Name the background or objects of a scene, at most `most` objects."""
    place = _one_of(rng, BACKGROUND_WORDS[scene.background])
    if rng.random() >= OBJECTS_RATE:
        return place
    count = int(rng.integers(1, (most or len(scene.objects)) + 1))
    chosen = rng.permutation(len(scene.objects))[:count]
    named = list(dict.fromkeys(_named(rng, scene.objects[index]) for index in chosen))
    phrase = _one_of(rng, JOINTS).join(named)
    if rng.random() < BACKGROUND_RATE:
        phrase += _one_of(rng, PLACE_JOINTS) + place
    return phrase


def _named(rng: Rng, one: SceneObject) -> str:
    word = _one_of(rng, CLASS_WORDS[one.name])
    return f"{one.colour} {word}" if rng.random() < COLOUR_RATE else word


def _one_of(rng: Rng, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
