import pytest

from clipes.tasks.ablation.tables.agreement import agreement_lines, comparisons, sharpness_lines
from clipes.tasks.ablation.tables.table import table_of


def test_variants_and_scores_are_compared_in_the_order_of_the_paper(refinements):
    found = [(each.what, each.lower, each.higher, each.agrees) for each in comparisons(table_of(refinements))]
    assert found == [
        ("refined CAM", "MHSA", "CAA", True),
        ("pseudo mask", "MHSA", "CAA", False),
        ("MHSA", "refined CAM", "pseudo mask", True),
        ("CAA", "refined CAM", "pseudo mask", True),
    ]


def test_the_sentences_count_the_orders_that_hold_and_state_the_runs(refinements):
    few, every = (agreement_lines(table_of(refinements), each) for each in (False, True))
    assert few == [
        "The order is the same as in the paper for 3 of 4 pairs of numbers.",
        "Disagrees with the paper: pseudo mask: MHSA < CAA in the paper (72.1 and 75.0), but not here (46.0 and 45.0; "
        "in 0 of 3 runs).",
    ]
    assert every[:2] == few
    assert every[2] == (
        "Agrees with the paper: refined CAM: MHSA < CAA in the paper (68.2 and 70.8), and here (42.0 and 43.0; "
        "in 2 of 3 runs)."
    )
    assert len(every) == 5


def test_equal_numbers_of_the_paper_and_classes_of_a_variant_are_not_compared(result_of):
    scores = {"initial_cam": {"miou": 0.4, "class_iou": {"bird": 0.5, "chair": 0.3}}}
    same = {"initial_cam": "voc_train_initial"}
    table = table_of(
        result_of(
            {"A": [scores], "B": [scores]},
            show=["initial_cam", "initial_cam.bird", "initial_cam.chair"],
            published={
                "A": {**same, "initial_cam.bird": "voc_train_bird_name", "initial_cam.chair": "voc_train_chair_name"},
                "B": same,
            },
        )
    )
    assert comparisons(table) == []
    assert agreement_lines(table, every=True) == []


def test_scores_without_a_seed_in_common_are_not_compared(result_of):
    failed, scored = {}, {"refined_cam": {"miou": 0.4}}
    published = {"A": {"refined_cam": "voc_train_mhsa"}, "B": {"refined_cam": "voc_train_caa"}}
    metrics = {"A": [scored, failed], "B": [failed, scored]}
    assert comparisons(table_of(result_of(metrics, show=["refined_cam"], published=published))) == []


def test_a_tie_here_is_a_disagreement(result_of):
    metrics = {"refined_cam": {"miou": 0.4}}
    published = {"A": {"refined_cam": "voc_train_mhsa"}, "B": {"refined_cam": "voc_train_caa"}}
    table = table_of(result_of({"A": [metrics], "B": [metrics]}, show=["refined_cam"], published=published))
    assert [each.agrees for each in comparisons(table)] == [False]


@pytest.mark.parametrize(("variants", "shown"), [(4, None), (5, "−1.00")])
def test_sharpness_is_correlated_with_scores_over_five_variants_or_more(result_of, variants, shown):
    metrics = {
        f"template {place}": [{"sharpness": 0.1 * place, "initial_cam": {"miou": 0.5 - 0.1 * place}}]
        for place in range(variants)
    }
    lines = sharpness_lines(table_of(result_of(metrics, show=["sharpness", "initial_cam"])))
    expected = f"of sharpness and initial CAM, 5 variants: {shown}. The paper expects a negative one."
    assert lines == ([f"Rank correlation (Spearman) {expected}"] if shown else [])


def test_only_runs_of_the_same_seed_are_compared(result_of):
    """While an ablation runs, its last variant has fewer seeds than the others."""
    low, high = {"refined_cam": {"miou": 0.4}}, {"refined_cam": {"miou": 0.5}}
    published = {"A": {"refined_cam": "voc_train_mhsa"}, "B": {"refined_cam": "voc_train_caa"}}
    metrics = {"A": [high, "out of memory", low], "B": [low, high]}
    (found,) = comparisons(table_of(result_of(metrics, show=["refined_cam"], published=published)))
    assert found.differences == pytest.approx((-10.0,))
