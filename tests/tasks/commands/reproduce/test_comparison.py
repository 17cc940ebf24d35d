import json
from dataclasses import replace

import pytest

from clipes.tasks.ablation.grid_file import load_grid
from clipes.tasks.ablation.result import AblationResult, VariantResult, VariantRun
from clipes.tasks.commands.reproduce.comparison import (
    CLOSE_ENOUGH,
    CRF_BUILD,
    CRF_IMAGE,
    OF_NUMBERS,
    PRECISION,
    MeasuredPart,
    compare,
)
from clipes.tasks.commands.reproduce.files import JSON_FILE, MARKDOWN_FILE, markdown, table_rows, write_files
from clipes.tasks.commands.reproduce.paper_config import REPRODUCTIONS
from clipes.tasks.inputs.paper.published import published_number
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.config.run import parse_config

CONFIG = parse_config({"name": "a"})
DEVIATION = "train has 228 photos, but the paper's train has 1464"


def run(metrics, failed=None):
    return VariantRun({}, "reproduce-voc12-masks-caa", "/store/runs/x", None, metrics, failed)


@pytest.fixture
def result():
    """Return a function that makes a result in which only one variant ran, by default CAA."""
    grid = load_grid(str(REPRODUCTIONS / "voc12" / "pseudo-masks.yaml"))

    def make(metrics, failed=None, label="CAA"):
        (ran,) = (variant for variant in grid.all_variants if variant.label == label)
        variants = (VariantResult(ran, (run(metrics, failed),)),)
        fields = {"grid": grid, "name": "reproduce-voc12-masks", "uri": "/store/runs/m", "data": "9 photos"}
        return AblationResult(**fields, variants=variants)

    return make


def scores(initial, refined, masks, **others):
    values = {"initial_cam": initial, "refined_cam": refined, "pseudo_mask": masks}
    return {**{key: {"miou": value} for key, value in values.items()}, **others}


def rows(result, config=CONFIG, deviations=()):
    """Return the rows of a reproduction with a part that has these deviations, and another part that has none."""
    parts = (MeasuredPart(result, config, deviations), MeasuredPart(replace(result, variants=()), config, ()))
    return compare("voc12", parts, ()).numbers


def test_each_published_number_of_a_variant_that_ran_is_compared(result):
    found = rows(result(scores(0.585, 0.7, 0.4)))
    assert [each.number_id for each in found[:3]] == ["voc_train_initial", "voc_train_caa", "voc_train_caa_crf"]
    assert [each.measured for each in found[:3]] == pytest.approx([58.5, 70, 40])
    assert [each.difference for each in found[:3]] == pytest.approx([-0.1, -0.8, -35])


def test_the_classes_with_synonyms_are_compared_with_the_scores_of_the_same_run(result):
    metrics = scores(0.585, 0.7, 0.4)
    metrics["initial_cam"]["class_iou"] = {"bird": 0.639, "chair": None}
    bird, chair, *_ = rows(result(metrics))[3:]
    assert (bird.number_id, bird.measured, bird.reasons) == ("voc_train_bird_synonyms", 63.9, (CLOSE_ENOUGH,))
    assert (chair.measured, chair.reasons) == (None, ("no true mask of the scored photos has the class chair",))


def test_a_score_as_close_as_a_repetition_needs_no_other_reason(result):
    initial, refined, *_ = rows(result(scores(0.585, 0.7, 0.4)), deviations=(DEVIATION,))
    assert initial.reasons == (CLOSE_ENOUGH,)
    assert refined.reasons == (DEVIATION,)


def test_reasons_are_what_deviates_then_the_warnings_of_the_run_then_what_is_known_about_the_score(result):
    metrics = scores(0.5, 0.5, 0.4, warnings=["true masks lack the labels"])
    _, _, masks, *_ = rows(result(metrics), deviations=(DEVIATION,))
    assert masks.reasons == (DEVIATION, "true masks lack the labels", CRF_IMAGE, CRF_BUILD)
    reference = parse_config({"name": "a", "crf": {"image": "reference"}})
    _, _, masks, *_ = rows(result(metrics), reference)
    assert CRF_IMAGE not in masks.reasons


def test_what_all_parts_have_in_common_is_no_reason_of_single_rows(result):
    both, other = "other weights", "other settings of the segmenter"
    parts = [MeasuredPart(result(scores(0.5, 0.5, 0.4)), CONFIG, own) for own in ((both, DEVIATION), (both, other))]
    found = compare("voc12", parts, ("segmenter: no GPU",))
    assert found.common_reasons == (both, PRECISION)
    ours, theirs = (each for each in found.numbers if each.number_id == "voc_train_initial")
    assert (ours.reasons, theirs.reasons) == ((DEVIATION,), (other,))
    assert found.left_out == ("segmenter: no GPU",)
    assert compare("voc12", parts[:1], ()).common_reasons == (both, DEVIATION, PRECISION)


def test_consecutive_reasons_are_shown_as_a_range_so_that_the_table_is_narrow(result):
    few, many = ("a", "b"), ("c", "d", "e")
    parts = [MeasuredPart(result(scores(0.5, 0.5, 0.4)), CONFIG, own) for own in (few, many)]
    shown = [row[-1] for row in table_rows(compare("voc12", parts, ())) if row[0] == "initial CAM"]
    assert shown == ["1, 2", "9-11"]


def test_the_initial_weights_of_a_segmenter_are_named_next_to_it(result):
    one = compare("voc12", [MeasuredPart(result(scores(0.5, 0.5, 0.4)), CONFIG, ())], ())
    number = replace(one.numbers[0], number_id="voc_val_imagenet", published=published_number("voc_val_imagenet", ""))
    assert table_rows(replace(one, numbers=(number,)))[0][:2] == ("DeepLabV2, ImageNet weights", "val")


def test_a_softmax_without_background_words_has_a_reason_of_its_own(result):
    (first, *_) = rows(result(scores(0.3, 0.3, 0.3), label="softmax of the classes"))
    assert first.number_id == "voc_train_no_background"
    assert first.reasons == (OF_NUMBERS["voc_train_no_background"],)


def test_a_run_without_a_score_says_why(result):
    (first, *_) = rows(result({}, failed="the store is full"), deviations=(DEVIATION,))
    assert (first.measured, first.difference, first.reasons) == (None, None, ("the store is full",))
    (first, *_) = rows(result({}))
    assert first.reasons == ("no photo with a true mask was scored",)


def test_the_files_hold_the_table_the_reasons_and_what_was_left_out(result, tmp_path):
    part = MeasuredPart(result(scores(0.585, 0.7, 0.4)), CONFIG, (DEVIATION,))
    found = compare("voc12", (part,), ("segmenter: no GPU",))
    assert table_rows(found)[1] == ("initial CAM + CAA", "train", "70.8", "70.0", "−0.8", "")
    text = markdown(found)
    assert f"in every row\n\n- {DEVIATION}\n- {PRECISION}\n" in text
    assert "| initial CAM | train | 58.6 | 58.5 | −0.1 | 1 |" in text
    assert f"of single rows\n\n1. {CLOSE_ENOUGH}\n2. {CRF_IMAGE}\n3. {CRF_BUILD}\n" in text
    assert text.endswith("## Not measured\n\n- segmenter: no GPU\n")

    files = RunFiles(str(tmp_path), "reproduce-voc12-masks")
    assert write_files(found, files).endswith(f"/{MARKDOWN_FILE}")
    content = json.loads((tmp_path / "runs" / "reproduce-voc12-masks" / JSON_FILE).read_text())
    assert content["common_reasons"] == [DEVIATION, PRECISION]
    assert content["numbers"][0] | {"measured": 0, "difference": 0} == {
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
