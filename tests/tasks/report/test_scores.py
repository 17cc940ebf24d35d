from dataclasses import replace

import pytest
from support.plain_reports import class_scores as scores
from support.plain_reports import plain_facts
from support.plain_runs import photo

from clipes.tasks.report.scores import ranked_by, ranked_classes

MASK = scores(0.5, background=0.9, cat=0.1, dog=None)
BOX = scores(0.3, background=0.6, cat=0.0, dog=None)
SEGMENTER = scores(0.4, background=0.7, cat=None, dog=0.5)


@pytest.fixture
def facts(tmp_path):
    return plain_facts(tmp_path, photos=(photo("a", (1,)), photo("b", (1,)), photo("c", (2,))))


def scored(facts, **metrics):
    return replace(facts, status=replace(facts.status, metrics=metrics))


def test_classes_are_ranked_by_pseudo_masks_or_else_by_the_segmenter(facts):
    assert ranked_by(scored(facts, segmenter=SEGMENTER, pseudo_mask=MASK)) == "pseudo_mask"
    assert ranked_by(scored(facts, segmenter=SEGMENTER, centre_box=BOX)) == "segmenter"
    assert ranked_by(scored(facts, centre_box=BOX)) is None
    assert ranked_by(facts) is None


def test_classes_with_truth_are_listed_from_best_to_worst(facts):
    lines = ranked_classes(scored(facts, pseudo_mask=MASK, centre_box=BOX))
    assert [(line.id, line.name, line.iou, line.photos) for line in lines] == [
        (0, "background", 0.9, None),
        (1, "cat", 0.1, 2),
    ]
    assert lines[1].others == {"centre_box": 0.0, "pseudo_mask": 0.1}


def test_a_class_without_labelled_photos_counts_no_photos(tmp_path):
    facts = plain_facts(tmp_path, photos=(photo("a", (1,)),))
    lines = ranked_classes(scored(facts, pseudo_mask=scores(0.5, background=0.9, cat=0.1, dog=0.2)))
    assert [(line.name, line.photos) for line in lines] == [("background", None), ("dog", 0), ("cat", 1)]


def test_a_class_that_only_occurs_in_the_evaluation_comes_last(facts):
    lines = ranked_classes(scored(facts, pseudo_mask=MASK, segmenter=SEGMENTER))
    assert [(line.name, line.iou, line.others["segmenter"]) for line in lines] == [
        ("background", 0.9, 0.7),
        ("cat", 0.1, None),
        ("dog", None, 0.5),
    ]


def test_a_class_scored_only_for_the_baseline_is_left_out(facts):
    """The data set and the evaluation may contain different classes."""
    lines = ranked_classes(scored(facts, centre_box=BOX, segmenter=SEGMENTER))
    assert [line.name for line in lines] == ["background", "dog"]


def test_classes_of_equal_iou_are_sorted_by_id(facts):
    equal = scores(0.5, background=0.5, cat=0.7, dog=0.7)
    assert [line.id for line in ranked_classes(scored(facts, pseudo_mask=equal))] == [1, 2, 0]


def test_without_scores_no_class_is_listed(facts):
    assert ranked_classes(facts) == ranked_classes(scored(facts, centre_box=BOX)) == []
