from dataclasses import replace
from pathlib import Path

import pytest
from support.plain_reports import plain_facts
from support.plain_runs import photo, write_artifact

from clipes.tasks.runs.photos_to_check import photos_to_check
from clipes.tasks.stages.masks import MASKS, MasksRow
from clipes.tasks.stages.segmenter_agreement import SEGMENTER_AGREEMENT, SegmenterAgreementRow
from clipes_core.errors import ErrorKind, PhotoError, UsageError
from clipes_core.evaluation.photos_to_check import Reason

PHOTOS = tuple(photo(name) for name in "abcde")


def row(image_id, *class_pixels):
    histogram = (*(0,) * 255, sum(class_pixels))
    class_ids = tuple(range(1, len(class_pixels)))
    return MasksRow(image_id=image_id, class_ids=class_ids, class_pixels=class_pixels, confidence_histogram=histogram)


def masks(folder):
    """Write masks of 1,000 px in two shards; one photo has no mask."""
    failed = MasksRow.failed("e", PhotoError(ErrorKind.MISSING, "gone"), class_ids=(1,))
    shards = [[row("a", 200, 800), row("b", 500, 500)], [row("c", 1000, 0), row("d", 300, 700, 0), failed]]
    return [write_artifact(str(folder), MASKS, rows, shard) for shard, rows in enumerate(shards)]


def listed(facts):
    return {
        each.image_id: [found.reason for found in each.reasons]
        for each in photos_to_check(facts.status, facts.artifacts)
    }


def test_photos_of_all_shards_are_listed_the_worst_first(tmp_path):
    facts = plain_facts(tmp_path, *masks(tmp_path), photos=PHOTOS)
    assert listed(facts) == {
        "c": [Reason.SMALL_FOREGROUND, Reason.LABEL_WITHOUT_PIXELS],
        "d": [Reason.LARGE_FOREGROUND, Reason.LABEL_WITHOUT_PIXELS],
        "a": [Reason.LARGE_FOREGROUND],
    }
    assert list(listed(facts)) == ["c", "d", "a"]


def test_the_config_of_the_run_sets_the_limits(tmp_path):
    check = {"report": {"check": {"max_foreground": 0.95, "min_foreground": 0}}}
    facts = plain_facts(tmp_path, *masks(tmp_path), photos=PHOTOS, settings=check)
    assert listed(facts) == {"c": [Reason.LABEL_WITHOUT_PIXELS], "d": [Reason.LABEL_WITHOUT_PIXELS]}


def test_photos_whose_mask_the_segmenter_contradicts_are_listed(tmp_path):
    agreements = {"a": 0.9, "b": 0.1, "d": 0.2}
    rows = [SegmenterAgreementRow(image_id=name, agreement=value) for name, value in agreements.items()]
    compared = write_artifact(str(tmp_path), SEGMENTER_AGREEMENT, rows)
    found = listed(plain_facts(tmp_path, *masks(tmp_path), compared, photos=PHOTOS))
    assert found["b"] == [Reason.SEGMENTER_DISAGREES]
    assert found["d"] == [Reason.LARGE_FOREGROUND, Reason.LABEL_WITHOUT_PIXELS, Reason.SEGMENTER_DISAGREES]
    assert list(found) == ["c", "d", "a", "b"]


def test_a_run_without_masks_has_no_photos_to_check(tmp_path):
    assert listed(plain_facts(tmp_path, photos=PHOTOS)) == {}


def test_photos_of_an_unreadable_artifact_are_left_out_and_the_artifact_is_noted(tmp_path):
    first, second = masks(tmp_path)
    Path(second.uri).unlink()
    facts = plain_facts(tmp_path, first, second, photos=PHOTOS)
    assert listed(facts) == {"a": [Reason.LARGE_FOREGROUND]}
    assert facts.artifacts.unreadable.keys() == {second.uri}


def test_the_run_of_an_earlier_version_is_refused(tmp_path):
    facts = plain_facts(tmp_path, *masks(tmp_path), photos=PHOTOS)
    older = {key: value for key, value in facts.status.run.items() if key != "vocabulary"}
    with pytest.raises(UsageError, match="written by an earlier version of clipes: run it again"):
        photos_to_check(replace(facts.status, run=older), facts.artifacts)
