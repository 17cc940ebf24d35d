from pathlib import Path

import numpy as np
import pytest
from support.ledger_records import reject
from support.plain_reports import mask_row, plain_facts
from support.plain_runs import photo, write_artifact

from clipes.tasks.report.facts import LISTED_REJECTS
from clipes.tasks.stages.cams import CAMS, CamsRow
from clipes.tasks.stages.mask_scores import MASK_SCORES, MaskScoresRow
from clipes.tasks.stages.masks import MASKS, MasksRow
from clipes.tasks.stages.texts import TEXTS, TextRow
from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.pictures.gallery import Picks

GONE = PhotoError(ErrorKind.MISSING, "gone")
PHOTOS = tuple(photo(name) for name in "abcd")
THREE = {"report": {"gallery": 3, "check": {"max_foreground": 1}}}  # every mask is all foreground


def levels(level):
    return np.full((2, 2), level, np.uint8)


def masks(folder):
    """Write masks of 2 x 2 px in two shards; one photo has no mask."""
    ids = levels(1)
    first = [mask_row("a", ids, levels(100)), mask_row("b", ids, levels(250))]
    second = [mask_row("c", ids, levels(200)), MasksRow.failed("d", GONE, class_ids=(1,))]
    return [write_artifact(str(folder), MASKS, rows, shard) for shard, rows in enumerate([first, second])]


def scored(image_id, right, wrong=0):
    """Return the scores of a mask with `right` correct pixels of class 1 and `wrong` pixels predicted as background."""
    cells = {"truth": (1, 1), "prediction": (1, 0), "pixels": (right, wrong)}
    return MaskScoresRow(image_id=image_id, scored=("pseudo_mask",) * 2, background_power=(1.0,) * 2, **cells)


def test_the_confidence_histogram_covers_the_pixels_of_all_masks(tmp_path):
    facts = plain_facts(tmp_path, *masks(tmp_path), photos=PHOTOS)
    assert facts.masks == 3
    assert {level: count for level, count in enumerate(facts.confidence) if count} == {100: 4, 200: 4, 250: 4}


def test_photos_are_chosen_by_miou_if_any_photo_is_scored(tmp_path):
    rows = [scored("b", 1, 3), scored("a", 3, 1), scored("c", 4), MaskScoresRow.failed("d", GONE)]
    scores = write_artifact(str(tmp_path), MASK_SCORES, rows)
    facts = plain_facts(tmp_path, *masks(tmp_path), scores, photos=PHOTOS, settings=THREE)
    assert facts.basis == "miou"
    assert (facts.picks.best, facts.picks.worst, facts.picks.random) == (("c",), ("b",), ("a",))
    assert facts.listed.chosen.keys() == set("abc")


def test_photos_are_not_chosen_by_miou_if_the_run_shows_no_score(tmp_path):
    scores = write_artifact(str(tmp_path), MASK_SCORES, [scored("b", 1, 3), scored("a", 3, 1), scored("c", 4)])
    facts = plain_facts(tmp_path, *masks(tmp_path), scores, photos=PHOTOS, settings=THREE, metrics={"stages": {}})
    assert facts.basis == "confidence"


def test_photos_are_chosen_by_confidence_if_no_photo_is_scored(tmp_path):
    facts = plain_facts(tmp_path, *masks(tmp_path), photos=PHOTOS, settings=THREE)
    assert facts.basis == "confidence"
    assert (facts.picks.best, facts.picks.worst, facts.picks.random) == (("b",), ("a",), ("c",))


def test_up_to_half_of_the_gallery_are_photos_to_check_and_no_other_group_repeats_them(tmp_path):
    facts = plain_facts(tmp_path, *masks(tmp_path), photos=PHOTOS, settings={"report": {"gallery": 4}})
    assert list(facts.to_check) == ["a", "b", "c"]
    assert facts.picks == Picks(best=(), worst=(), random=("c",), to_check=("a", "b"))
    assert facts.listed.chosen.keys() == set("abc")
    assert facts.basis == "confidence"


def test_without_masks_photos_with_cams_are_chosen_at_random(tmp_path):
    rows = [CamsRow(image_id="a", class_ids=(1,)), CamsRow.failed("b", GONE, class_ids=(1,))]
    facts = plain_facts(tmp_path, write_artifact(str(tmp_path), CAMS, rows), photos=PHOTOS)
    assert facts.basis == "nothing"
    assert (facts.picks.best, facts.picks.worst, facts.picks.random) == ((), (), ("a",))


def test_rejects_are_counted_by_stage_and_kind_and_the_first_are_listed(tmp_path):
    kinds = [ErrorKind.MISSING] * LISTED_REJECTS + [ErrorKind.TOO_SMALL] * 2
    rejects = [reject(f"p{number}", kind) for number, kind in enumerate(kinds)]
    rejects.append(reject("last", stage="masks"))

    found = plain_facts(tmp_path, rejects=rejects).rejects

    expected = {("cams", "missing"): LISTED_REJECTS, ("cams", "too_small"): 2, ("masks", "missing"): 1}
    assert found.groups == expected
    assert [row["image_id"] for row in found.listed] == [f"p{number}" for number in range(LISTED_REJECTS)]
    assert found.listed[0]["reason"] == "p0 is missing"


def test_the_sentences_of_a_class_are_those_of_all_its_texts(tmp_path):
    texts = [(1, ("a cat.",)), (1, ("a kitten.",)), (2, ("a dog.", "the dog.")), (0, ("sky.",))]
    rows = [TextRow(class_id=class_id, name="-", sentences=said, feature=(1.0,)) for class_id, said in texts]
    facts = plain_facts(tmp_path, write_artifact(str(tmp_path), TEXTS, rows))
    assert facts.sentences == {1: ("a cat.", "a kitten."), 2: ("a dog.", "the dog."), 0: ("sky.",)}


def test_a_run_that_only_listed_photos_has_only_photo_counts(tmp_path):
    facts = plain_facts(tmp_path, photos=PHOTOS)
    assert (facts.listed.photos, facts.masks, facts.confidence.sum(), facts.basis) == (4, 0, 0, "nothing")
    assert (facts.rejects.groups, facts.sentences, facts.segmenter.curve) == ({}, {}, ())
    assert facts.artifacts.unreadable == {}


@pytest.mark.parametrize("stage", [MASKS, MASK_SCORES])
def test_an_unreadable_artifact_is_noted_and_the_others_are_used(tmp_path, stage):
    records = [*masks(tmp_path), write_artifact(str(tmp_path), MASK_SCORES, [scored("a", 1)])]
    lost = next(record for record in records if record.stage == stage.name)
    Path(lost.uri).unlink()
    facts = plain_facts(tmp_path, *records, photos=PHOTOS)
    assert facts.artifacts.unreadable == {lost.uri: f"{lost.uri} is missing: run again; clipes will rebuild it"}
    assert facts.masks == (1 if stage is MASKS else 3)
