from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.plain_reports import PALETTE, plain_facts, write_photo
from support.plain_runs import write_artifact

from clipes.tasks.inputs.pngs import palette_png
from clipes.tasks.report.gallery.evaluation_gallery import EvaluationGallery
from clipes.tasks.report.gallery.forms import Layers
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES, SegmenterScoresRow
from clipes_core.errors import ErrorKind, PhotoError

PREDICTION = np.array([[0, 0, 0, 2, 2, 2]] * 4, np.uint8)
TRUTH = np.array([[0, 0, 2, 2, 2, 2]] * 4, np.uint8)
CELLS = {"truth": (0, 2, 2), "prediction": (0, 0, 2), "pixels": (8, 4, 12)}


def predicted(image_id, **cells):
    return SegmenterScoresRow(
        image_id=image_id, mask_png=palette_png(PREDICTION, PALETTE), class_pixels=(12, 0, 12), **cells
    )


def gallery_of(facts, image_ids):
    return EvaluationGallery(facts, image_ids, Layers(facts.pictures))


@pytest.fixture
def facts(tmp_path):
    """Return facts where photo a has truth, b has none and c could not be predicted."""
    photos = (
        write_photo(tmp_path, "a", (), TRUTH),
        write_photo(tmp_path, "b", (1,)),
        write_photo(tmp_path, "c", (1,)),
    )
    failed = SegmenterScoresRow.failed("c", PhotoError(ErrorKind.UNDECODABLE, "broken"))
    rows = [predicted("a", **CELLS), predicted("b"), failed]
    record = write_artifact(str(tmp_path / "store"), SEGMENTER_SCORES, rows)
    return plain_facts(tmp_path / "store", record, evaluation=photos)


def test_a_card_shows_prediction_truth_and_miou(facts):
    (card,) = gallery_of(facts, ["a"]).cards(["a"])
    assert [picture.title for picture in card.pictures] == ["Photo", "Prediction", "Truth"]
    assert card.mious == {"segmenter": pytest.approx((8 / 12 + 12 / 16) / 2)}
    assert (card.class_ids, card.notes, card.sure, card.cams) == ((), (), None, ())


def test_a_photo_without_truth_has_no_miou(facts):
    (card,) = gallery_of(facts, "ab").cards("b")
    assert [picture.title for picture in card.pictures] == ["Photo", "Prediction"]
    assert (card.mious, card.class_ids) == ({}, (1,))


def test_a_card_has_no_miou_if_the_run_shows_no_score(facts):
    ended = replace(facts, status=replace(facts.status, metrics={"stages": {}}))
    (card,) = gallery_of(ended, ["a"]).cards(["a"])
    assert card.mious == {}


def test_photos_without_a_prediction_are_left_out(facts):
    assert [card.image_id for card in gallery_of(facts, "abc").cards("cbza")] == ["b", "a"]


def test_a_card_has_a_look_for_each_labelled_and_each_predicted_class(facts):
    cards = gallery_of(facts, "ab").cards("ab")
    assert [set(card.styles) for card in cards] == [{2}, {1, 2}]


def test_a_photo_that_was_deleted_has_a_note(facts):
    photo = facts.segmenter.listed.chosen["b"]
    Path(photo.uri).unlink()
    (card,) = gallery_of(facts, "b").cards("b")
    assert card.notes == (f"the photo cannot be shown: {photo.uri} does not exist",)


def test_a_photo_that_was_not_chosen_has_no_card(facts):
    chosen = {"b": facts.segmenter.listed.chosen["b"]}
    listed = replace(facts.segmenter.listed, chosen=chosen)
    fewer = replace(facts, segmenter=replace(facts.segmenter, listed=listed))
    assert [card.image_id for card in gallery_of(fewer, "ab").cards("ab")] == ["b"]
