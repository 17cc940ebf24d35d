import numpy as np
import pytest
from support.plain_reports import mask_row, plain_facts, write_photo
from support.plain_runs import write_artifact

from clipes.tasks.report.gallery.forms import Layers
from clipes.tasks.report.gallery.photo_gallery import SHOWN_CLASSES, Gallery
from clipes.tasks.stages.cams import CAMS, CamsRow
from clipes.tasks.stages.columns.cams import encoded_cams, encoded_residual
from clipes.tasks.stages.mask_scores import MASK_SCORES, MaskScoresRow
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.stages.texts import TEXTS, TextRow

MASK = np.array([[0, 0, 0, 1, 1, 1]] * 4, np.uint8)
SURE = np.where(MASK, 243, 100).astype(np.uint8)
SCORES = MaskScoresRow(
    image_id="a",
    scored=("pseudo_mask", "pseudo_mask", "centre_box"),
    background_power=(1.0, 1.0, 0.0),
    truth=(0, 1, 0),
    prediction=(0, 1, 0),
    pixels=(12, 12, 24),
)


def cams_row(image_id, class_ids):
    cams = np.linspace(0, 1, len(class_ids) * 4, dtype=np.float32).reshape(len(class_ids), 2, 2)
    return CamsRow(
        image_id=image_id,
        class_ids=class_ids,
        scores=tuple(0.5 / class_id for class_id in class_ids),
        height=4,
        width=6,
        grid_h=2,
        grid_w=2,
        cam=encoded_cams(cams),
        refined_cam=encoded_cams(cams),
        refined_residual=encoded_residual(cams),
    )


@pytest.fixture
def card_of(tmp_path):
    """Return a function that makes the card of a photo from its rows."""

    def card_of(photo, *rows, metrics=None):
        store, image_ids = str(tmp_path / "store"), [photo.image_id, "unknown"]
        texts = [TextRow(class_id=1, name="cat", sentences=("a cat.",), feature=(1.0,))]
        stages = {"CamsRow": CAMS, "MasksRow": MASKS, "MaskScoresRow": MASK_SCORES}
        records = [write_artifact(store, stages[type(row).__name__], [row]) for row in rows]
        facts = plain_facts(
            tmp_path / "store", *records, write_artifact(store, TEXTS, texts), photos=(photo,), metrics=metrics
        )
        return next(Gallery(facts, image_ids, Layers(facts.pictures)).cards(image_ids), None)

    return card_of


def titles(pictures):
    return [picture.title for picture in pictures]


def test_a_card_has_no_miou_if_the_run_shows_no_score(card_of, tmp_path):
    rows = (cams_row("a", (1,)), mask_row("a", MASK, SURE), SCORES)
    assert card_of(write_photo(tmp_path, "a", (1,)), *rows, metrics={"stages": {}}).mious == {}


def test_a_card_shows_all_results_of_its_photo(card_of, tmp_path):
    photo = write_photo(tmp_path, "a", (1, 2), MASK)
    card = card_of(photo, cams_row("a", (1, 2)), mask_row("a", MASK, SURE), SCORES)

    assert (card.image_id, card.class_ids, card.notes, card.hidden) == ("a", (1, 2), (), 0)
    assert titles(card.pictures) == ["Photo", "Pseudo mask", "Confidence", "Truth"]
    assert card.mious == {"pseudo_mask": 1.0, "centre_box": 1.0}
    assert card.sure == 0.5  # 243 is the lowest level of at least 0.95
    assert [(cams.class_id, cams.sentences, cams.score) for cams in card.cams] == [(1, ("a cat.",), 0.5), (2, (), 0.25)]
    assert [titles(cams.pictures) for cams in card.cams] == [["Initial CAM", "Refined CAM"]] * 2


def test_a_card_without_mask_and_truth_shows_the_photo_and_its_cams(card_of, tmp_path):
    card = card_of(write_photo(tmp_path, "a", (1,)), cams_row("a", (1,)))
    assert (titles(card.pictures), card.mious, card.sure, len(card.cams)) == (["Photo"], {}, None, 1)


def test_a_photo_without_labels_has_no_cams(card_of, tmp_path):
    card = card_of(write_photo(tmp_path, "a", ()), cams_row("a", ()))
    assert (card.cams, card.hidden) == ((), 0)


def test_only_the_first_of_many_classes_are_shown(card_of, tmp_path):
    class_ids = tuple(range(1, SHOWN_CLASSES + 4))
    card = card_of(write_photo(tmp_path, "a", class_ids), cams_row("a", class_ids))
    assert ([cams.class_id for cams in card.cams], card.hidden) == ([1, 2, 3, 4], 3)


def test_a_photo_without_cams_has_no_card(card_of, tmp_path):
    assert card_of(write_photo(tmp_path, "a", (1,)), mask_row("a", MASK, SURE)) is None
