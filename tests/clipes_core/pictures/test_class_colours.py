import pytest

from clipes_core.pictures.class_colours import COLOURS, PATTERNS, class_styles


def test_a_class_keeps_its_colour_unless_another_class_of_the_photo_has_it():
    alone = class_styles([9])[9]
    assert alone == class_styles([1, 9])[9]
    assert (alone.colour, alone.pattern) == (COLOURS[1], "plain")
    both = class_styles([2, 9])
    assert both[2].colour == COLOURS[1]
    assert both[9].colour == COLOURS[2]


@pytest.mark.parametrize("class_ids", [range(1, 8), [3, 10, 17, 24, 31, 38, 45]])
def test_up_to_seven_classes_have_different_colours_and_no_pattern(class_ids):
    styles = class_styles(class_ids)
    assert {style.colour for style in styles.values()} == set(COLOURS)
    assert {style.pattern for style in styles.values()} == {"plain"}


def test_up_to_28_classes_have_different_looks():
    assert len(set(class_styles(range(1, 29)).values())) == 28 == len(COLOURS) * len(PATTERNS)


def test_the_order_and_repetition_of_ids_change_nothing():
    assert class_styles([9, 2, 9]) == class_styles([2, 9])
    assert class_styles([]) == {}


def lightness_and_blue(colour):
    """Return what remains of a colour for somebody without a difference between red and green (a rough model)."""
    red, green, blue = colour
    return 0.35 * red + 0.65 * green, blue


def test_all_pairs_of_colours_differ_without_red_and_green():
    seen = [lightness_and_blue(colour) for colour in COLOURS]
    for place, (lightness, blue) in enumerate(seen):
        for other_lightness, other_blue in seen[:place]:
            assert abs(lightness - other_lightness) + abs(blue - other_blue) > 35
