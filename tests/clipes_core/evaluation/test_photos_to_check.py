import numpy as np
import pytest

from clipes_core.config.run import CheckConfig
from clipes_core.errors import ShapeError
from clipes_core.evaluation.photos_to_check import (
    MaskFacts,
    Reason,
    agreement,
    facts_of_mask,
    find_reasons,
    severity,
)

NAMES = ("cat", "dog", "cow")
LIMITS = CheckConfig(max_foreground=0.6, min_foreground=0.01, max_crf_change=0.5, min_agreement=0.2)


def found(*facts, **more):
    return {each.reason: each for each in find_reasons(MaskFacts(*facts, **more), NAMES, LIMITS)}


@pytest.mark.parametrize(
    ("class_ids", "class_pixels", "expected"),
    [
        ((1, 3), (25, 50, 25), MaskFacts(0.75)),
        ((1, 3), (75, 25, 0), MaskFacts(0.25, unseen=(3,))),
        ((2,), (100, 0), MaskFacts(0.0, unseen=(2,))),
        ((), (100,), MaskFacts(None)),
    ],
)
def test_the_facts_of_a_mask_come_from_its_pixel_counts(class_ids, class_pixels, expected):
    assert facts_of_mask(class_ids, class_pixels, None) == expected


@pytest.mark.parametrize(
    ("class_ids", "expected"),
    [
        ((1,), (2 / 4 + 1 / 3) / 2),  # the background, then class 1
        ((1, 2), (2 / 4 + 1 / 3 + 0) / 3),
        ((1, 3), (2 / 4 + 1 / 3) / 2),  # neither has class 3
        ((), 2 / 4),
    ],
)
def test_the_agreement_is_the_miou_over_the_background_and_the_labels(class_ids, expected):
    mask, prediction = np.array([[0, 0, 0], [1, 1, 0]], np.uint8), np.array([[0, 0, 1], [1, 2, 2]], np.uint8)
    assert agreement(mask, prediction, class_ids) == pytest.approx(expected)


def test_masks_of_different_sizes_are_not_compared():
    with pytest.raises(ShapeError, match="must have the same size"):
        agreement(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), (1,))


@pytest.mark.parametrize(
    ("foreground", "reasons"),
    [
        (0.8, [Reason.LARGE_FOREGROUND]),
        (0.6, []),
        (0.01, []),
        (0.005, [Reason.SMALL_FOREGROUND]),
        (0.0, [Reason.SMALL_FOREGROUND]),
        (None, []),
    ],
)
def test_a_foreground_beyond_a_limit_is_a_reason(foreground, reasons):
    assert list(found(foreground)) == reasons


def test_the_weight_grows_as_a_value_is_further_beyond_its_limit():
    assert found(0.8)[Reason.LARGE_FOREGROUND].weight == pytest.approx(1.5)  # 1, and 0.2 of 0.4
    assert found(0.0025)[Reason.SMALL_FOREGROUND].weight == pytest.approx(1.75)
    assert found(0.3, unseen=(1, 2))[Reason.LABEL_WITHOUT_PIXELS].weight == 0.5
    assert found(0.3, crf_changed=0.75)[Reason.CRF_DISAGREES].weight == pytest.approx(0.5)
    assert found(0.3, agreement=0.05)[Reason.SEGMENTER_DISAGREES].weight == pytest.approx(0.75)


def test_a_label_without_pixels_is_a_reason_that_names_the_label():
    (one,) = found(0.3, unseen=(2,)).values()
    assert (one.reason, one.value) == (Reason.LABEL_WITHOUT_PIXELS, 1)
    assert one.text == "No pixel of the mask has the label dog."
    (two,) = found(0.3, unseen=(1, 3)).values()
    assert two.text == "No pixel of the mask has the labels cat, cow."


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"foreground": 0.877}, "87.7% of the pixels are foreground, more than 60%."),
        ({"foreground": 0.002}, "Only 0.20% of the pixels are foreground, less than 1%."),
        (
            {"foreground": 0.3, "crf_changed": 0.714},
            "The CRF changed the class of 71.4% of the pixels, more than 50%.",
        ),
        (
            {"foreground": 0.3, "agreement": 0.05},
            "The mask and the segmenter's prediction have an mIoU of 5.0%, less than 20%.",
        ),
    ],
)
def test_a_sentence_states_the_value_and_the_limit(facts, text):
    (finding,) = found(**facts).values()
    assert finding.text == text


def test_limits_at_their_ends_turn_checks_off():
    limits = CheckConfig(min_foreground=0, max_crf_change=1, min_agreement=0)
    assert find_reasons(MaskFacts(0.0, crf_changed=1.0, agreement=0.0), NAMES, limits) == ()


def test_the_severity_adds_up_the_weights():
    facts = [MaskFacts(0.7), MaskFacts(0.9), MaskFacts(0.0, unseen=(1,)), MaskFacts(0.3)]
    levels = [severity(find_reasons(each, NAMES, LIMITS)) for each in facts]
    assert levels == [pytest.approx(1.25), pytest.approx(1.75), 2.5, 0]
