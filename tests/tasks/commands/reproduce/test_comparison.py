import json

import pytest

from clipes.tasks.ablation.grid import load_grid
from clipes.tasks.ablation.result import AblationResult, VariantResult, VariantRun
from clipes.tasks.commands.reproduce.comparison import (
    CLOSE_ENOUGH,
    CRF_BUILD,
    CRF_IMAGE,
    PRECISION,
    Reproduction,
    compare,
)
from clipes.tasks.commands.reproduce.files import JSON_FILE, MARKDOWN_FILE, markdown, table_rows, write_files
from clipes.tasks.commands.reproduce.paper_config import REPRODUCTIONS
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.config.run import parse_config

CONFIG = parse_config({"name": "a"})
DEVIATION = "train has 228 photos, but the paper's train has 1464"


def run(metrics, failed=None):
    return VariantRun({}, "reproduce-voc12-masks-caa", "/store/runs/x", None, metrics, failed)


@pytest.fixture
def result():
    """Return a result in which only the variant CAA ran."""
    grid = load_grid(str(REPRODUCTIONS / "voc12" / "pseudo-masks.yaml"))
    (caa,) = (variant for variant in grid.all_variants if variant.label == "CAA")

    def make(metrics, failed=None):
        variants = (VariantResult(caa, (run(metrics, failed),)),)
        fields = {"grid": grid, "name": "reproduce-voc12-masks", "uri": "/store/runs/m", "data": "9 photos"}
        return AblationResult(**fields, variants=variants)

    return make


def scores(initial, refined, masks, **others):
    values = {"initial_cam": initial, "refined_cam": refined, "pseudo_mask": masks}
    return {**{key: {"miou": value} for key, value in values.items()}, **others}


def test_each_published_number_of_a_variant_that_ran_is_compared(result):
    found = compare(result(scores(0.585, 0.7, 0.4)), CONFIG, ())
    assert [each.number_id for each in found[:3]] == ["voc_train_initial", "voc_train_caa", "voc_train_caa_crf"]
    assert [each.measured for each in found[:3]] == pytest.approx([58.5, 70, 40])
    assert [each.difference for each in found[:3]] == pytest.approx([-0.1, -0.8, -35])


def test_the_classes_with_synonyms_are_compared_with_the_scores_of_the_same_run(result):
    metrics = scores(0.585, 0.7, 0.4)
    metrics["initial_cam"]["class_iou"] = {"bird": 0.639, "chair": None}
    bird, chair, *_ = compare(result(metrics), CONFIG, ())[3:]
    assert (bird.number_id, bird.measured, bird.reasons) == ("voc_train_bird_synonyms", 63.9, (CLOSE_ENOUGH,))
    assert (chair.measured, chair.reasons) == (None, ("no true mask of the scored photos has the class chair",))


def test_a_score_as_close_as_a_repetition_needs_no_other_reason(result):
    initial, refined, *_ = compare(result(scores(0.585, 0.7, 0.4)), CONFIG, (DEVIATION,))
    assert initial.reasons == (CLOSE_ENOUGH,)
    assert refined.reasons == (DEVIATION, PRECISION)


def test_reasons_are_what_deviates_then_the_warnings_of_the_run_then_what_is_known_about_the_score(result):
    metrics = scores(0.5, 0.5, 0.4, warnings=["true masks lack the labels"])
    _, _, masks, *_ = compare(result(metrics), CONFIG, (DEVIATION,))
    assert masks.reasons == (DEVIATION, "true masks lack the labels", CRF_IMAGE, CRF_BUILD, PRECISION)
    reference = parse_config({"name": "a", "crf": {"image": "reference"}})
    _, _, masks, *_ = compare(result(metrics), reference, ())
    assert CRF_IMAGE not in masks.reasons


def test_a_run_without_a_score_says_why(result):
    (first, *_) = compare(result({}, failed="the store is full"), CONFIG, (DEVIATION,))
    assert (first.measured, first.difference, first.reasons) == (None, None, ("the store is full",))
    (first, *_) = compare(result({}), CONFIG, ())
    assert first.reasons == ("no photo with a true mask was scored",)


def test_the_files_hold_the_table_the_reasons_and_what_was_left_out(result, tmp_path):
    compared = tuple(compare(result(scores(0.585, 0.7, 0.4)), CONFIG, (DEVIATION,))[:3])
    found = Reproduction("voc12", ("228 photos",), (DEVIATION,), compared, ("segmenter: no GPU",))
    assert table_rows(found)[1] == ("initial CAM + CAA", "train", "70.8", "70.0", "−0.8", "1, 3")
    text = markdown(found)
    assert "| initial CAM | train | 58.6 | 58.5 | −0.1 | 2 |" in text
    assert f"1. {DEVIATION}\n2. {CLOSE_ENOUGH}\n3. {PRECISION}" in text
    assert text.endswith("## Not measured\n\n- segmenter: no GPU\n")

    files = RunFiles(str(tmp_path), "reproduce-voc12-masks")
    assert write_files(found, files).endswith(f"/{MARKDOWN_FILE}")
    content = json.loads((tmp_path / "runs" / "reproduce-voc12-masks" / JSON_FILE).read_text())
    assert content["deviations"] == [DEVIATION]
    assert content["comparisons"][0] | {"measured": 0, "difference": 0} == {
        "id": "voc_train_initial",
        "what": "initial CAM",
        "data": "voc12",
        "split": "train",
        "init": None,
        "unit": "%",
        "source": "CLIP-ES, tables 1, 2 and 6",
        "published": 58.6,
        "measured": 0,
        "difference": 0,
        "run": "reproduce-voc12-masks-caa",
        "reasons": [CLOSE_ENOUGH],
    }
