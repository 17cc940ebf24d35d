from clipes.tasks.ablation.tables.agreement import agreement_lines
from clipes.tasks.ablation.tables.table import table_of
from clipes.tasks.ablation.tables.wording import explanations, headings, problems, text_rows

BOAT = "25.0 (25.0 to 25.0)"


def test_differences_and_the_paper_have_columns_only_if_there_are_any(refinements):
    table = table_of(refinements)
    assert headings(table) == [
        "variant",
        "refined CAM",
        "+/-",
        "paper",
        "pseudo mask",
        "+/-",
        "paper",
        "boat (refined CAM)",
    ]
    assert text_rows(table) == [
        ["MHSA", "42.0 (40.0 to 44.0)", "ref.", "68.2", "46.0 (46.0 to 46.0)", "ref.", "72.1", BOAT],
        ["CAA", "43.0 (41.0 to 46.0)", "+1.0", "70.8", "45.0 (45.0 to 45.0)", "−1.0", "75.0", BOAT],
    ]


def test_the_explanations_name_the_photos_of_the_paper(refinements):
    lines = explanations(table_of(refinements))
    assert lines == [
        "Scores are mIoU in %; the score of a class is its IoU in %.",
        "A number is the mean over the seeds, with the lowest and the highest value in brackets.",
        "+/- is the difference from MHSA.",
        "The paper's numbers were measured on voc12 train. On other photos, compare only the order of the numbers.",
        "No run has these figures: train (refined CAM).",
    ]


def test_a_table_of_times_needs_hardly_any_explanation(result_of):
    result = result_of({"A": [{"stages": {"cams": {"seconds_per_row": 0.02}}}]}, show=["cams.seconds"])
    table = table_of(result)
    assert text_rows(table) == [["A", "20.0"]]
    assert explanations(table) == []


def test_failed_runs_are_named_with_their_reasons(result_of):
    result = result_of(
        {"A": [{"sharpness": 0.1}, "no photo has a label"], "B": ["out of memory"] * 2}, show=["sharpness"]
    )
    table = table_of(result)
    assert text_rows(table)[1] == ["B", "–"]
    assert problems(table) == [
        "demo-table-A-1 failed: no photo has a label",
        "demo-table-B-0 failed: out of memory",
        "demo-table-B-1 failed: out of memory",
    ]


def test_a_figure_that_a_variant_cannot_have_is_a_dash_with_the_reason(result_of):
    """Two variants without refinement, whose initial CAMs are not repeated as refined CAMs."""
    caa = {"initial_cam": {"miou": 0.4}, "refined_cam": {"miou": 0.5, "class_iou": {"boat": 0.25}}}
    without = {"refined_cam": "the CAMs are not refined"}
    result = result_of(
        {"A": [{"initial_cam": {"miou": 0.3}}], "B": [{"initial_cam": {"miou": 0.4}}], "CAA": [caa]},
        missing={"A": without, "B": without},
        show=["initial_cam", "refined_cam", "refined_cam.boat"],
        reference="CAA",
        published={"A": {"initial_cam": "voc_train_initial"}, "CAA": {"refined_cam": "voc_train_caa"}},
    )
    table = table_of(result)
    assert text_rows(table)[0] == ["A", "30.0", "−10.0", "58.6", "–", "", "–"]
    assert explanations(table)[-2:] == [
        "The background score of a pixel is (1 - its largest CAM value)^p with the p of the best mIoU, as in the "
        "authors' program: 1 to 10 for initial CAMs, 1 to 2 for refined CAMs. A small difference between the two may "
        "come from this choice alone.",
        'There is no refined CAM of "A", "B", because the CAMs are not refined.',
    ]
    assert agreement_lines(table, every=True) == []
