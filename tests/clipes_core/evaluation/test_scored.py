from clipes_core.evaluation.scored import CENTRE_BOX, SCORED, SEGMENTER_MASK


def test_predictions_are_listed_from_the_baseline_to_the_segmenter():
    assert [scored.key for scored in SCORED] == [
        "centre_box",
        "initial_cam",
        "refined_cam",
        "pseudo_mask",
        "segmenter",
    ]
    assert len({scored.title for scored in SCORED}) == len(SCORED)


def test_the_box_drawn_from_labels_is_the_only_baseline():
    assert [scored for scored in SCORED if scored.is_baseline] == [CENTRE_BOX]


def test_only_the_segmenter_is_scored_on_other_photos():
    assert [scored for scored in SCORED if scored.on_evaluation] == [SEGMENTER_MASK]
