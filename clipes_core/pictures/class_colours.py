"""Colours for the classes of a photo that people with red-green colour blindness can tell apart."""

from collections.abc import Collection
from dataclasses import dataclass

# Seven of the eight colours that Okabe and Ito propose. They differ in lightness too; black is left out.
COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
PATTERNS = ("plain", "stripes", "dots", "grid")


@dataclass(frozen=True)
class ClassStyle:
    """The look of a class in one photo.

    Attributes:
        colour: RGB, [0, 255].
        pattern: one of `PATTERNS`.
    """

    colour: tuple[int, int, int]
    pattern: str


def class_styles(class_ids: Collection[int]) -> dict[int, ClassStyle]:
    """Choose the look of each class of a photo.

    A class has the same colour in all photos, unless another class of the photo has this colour. Up to seven classes
    have different colours. If there are more classes, those with the same colour have different patterns. Two classes
    have the same look only if there are more than 28.

    Args:
        class_ids: ids of the photo's classes, 1..K.

    Returns:
        Class id -> look.

    Source: M. Okabe and K. Ito, "Color Universal Design", 2008.
    """
    uses = [0] * len(COLOURS)
    styles = {}
    for class_id in sorted(set(class_ids)):
        first = (class_id - 1) % len(COLOURS)
        place = min(range(len(COLOURS)), key=lambda each: (uses[each], (each - first) % len(COLOURS)))
        styles[class_id] = ClassStyle(COLOURS[place], PATTERNS[uses[place] % len(PATTERNS)])
        uses[place] += 1
    return styles
