"""How captions of the demo's scenes use each template: how often, how reliably, and for which scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

SHUFFLE_SEED = 77004
WEIGHTS = (64.0, 8.0, 1.0)
RELIABILITIES = (1.0, 1.0, 0.5)
UNUSED_PER_ROUND = 2


@dataclass(frozen=True)
class TemplateUse:
    """How captions use a template.

    Attributes:
        template: text with a placeholder {} for the words of the caption.
        weight: how often a caption uses the template, relative to the other templates that suit its scene; 0 if no
            caption uses it.
        reliability: share of the captions with this template whose words describe the scene, [0, 1]. The words of the
            other captions describe another scene.
        single: if true, only scenes with one object have captions with this template, and these captions name at most
            one object.
    """

    template: str
    weight: float = 1.0
    reliability: float = 1.0
    single: bool = False


def varied_uses(templates: Sequence[str]) -> tuple[TemplateUse, ...]:
    """Give each template its own use, which depends only on the number of templates and on its place among them.

    The templates are taken in a fixed random order. One after the other gets the next combination of a weight (64, 8
    or 1), a reliability (1, 1 or 0.5) and `single` (false or true). After each round of these 18 combinations, two
    templates get the weight 0. The three properties are therefore nearly independent of each other.

    Returns:
        One use per template, in the order of `templates`.
    """
    combinations = [*product(WEIGHTS, RELIABILITIES, (False, True)), *[(0.0, 1.0, False)] * UNUSED_PER_ROUND]
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(templates))
    turn = {int(index): place % len(combinations) for place, index in enumerate(order)}
    return tuple(TemplateUse(template, *combinations[turn[index]]) for index, template in enumerate(templates))
