from dataclasses import dataclass

import pytest
from support.plain_runs import Lengths, photo, run_inputs

from clipes.tasks.plan.keys import content_key, digest
from clipes.tasks.plan.row_kinds import CANDIDATE_TEXT_ROWS, EVALUATION_ROWS, PHOTO_ROWS, TEXT_ROWS, TRAINING_ROWS

A, B, C = photo("a"), photo("b", truth=False), photo("c", class_ids=())
ALL, TRUE, LABELLED = Lengths(), Lengths(needs_truth=True), Lengths(needs_labels=True)
INPUTS = run_inputs((A, B), (), (C,), evaluation={4: (C, A)})
TEMPLATES = ("a {}.", "the {}.", "one {}.")


@dataclass(frozen=True)
class Steps:
    """The facts about a training that a plan needs."""

    iterations: int
    digest: str = "d"
    imports: tuple[str, ...] = ()


def ids(photos):
    return "".join(each.image_id for each in photos)


@pytest.mark.parametrize(
    ("stage", "expected"), [(ALL, {0: "ab", 2: "c"}), (TRUE, {0: "a", 2: "c"}), (LABELLED, {0: "ab"})]
)
def test_shards_of_photos_are_those_with_a_row(stage, expected):
    assert {
        shard: ids(PHOTO_ROWS.photos(stage, INPUTS, shard)) for shard in PHOTO_ROWS.shards(stage, INPUTS)
    } == expected
    assert {shard: PHOTO_ROWS.rows(stage, INPUTS, shard) for shard in expected} == {
        shard: len(photos) for shard, photos in expected.items()
    }
    assert PHOTO_ROWS.total(stage, INPUTS) == sum(map(len, expected.values()))


def test_rows_of_the_evaluation_are_those_of_its_own_photos():
    assert EVALUATION_ROWS.shards(LABELLED, INPUTS) == [4]
    assert ids(EVALUATION_ROWS.photos(ALL, INPUTS, 4)) == "ca"
    assert (EVALUATION_ROWS.rows(LABELLED, INPUTS, 4), EVALUATION_ROWS.total(ALL, INPUTS)) == (1, 2)
    assert EVALUATION_ROWS.shards(ALL, run_inputs((A,))) == []


def test_a_shard_of_photos_reads_the_shard_of_the_same_number():
    for kind in (PHOTO_ROWS, EVALUATION_ROWS):
        assert kind.read_by(ALL, INPUTS, 2) == (2,)
        assert kind.artifact_shard(2) == 2
        assert kind.stored_rows(7) == 7
        assert kind.content_key("key", {"a": "1"}) == content_key({"a": "1"})


def test_only_photos_have_a_row_each():
    assert all(kind.per_photo for kind in (PHOTO_ROWS, EVALUATION_ROWS))
    assert not any(kind.per_photo for kind in (TEXT_ROWS, CANDIDATE_TEXT_ROWS, TRAINING_ROWS))
    assert [kind.of_evaluation for kind in (PHOTO_ROWS, EVALUATION_ROWS, TRAINING_ROWS)] == [False, True, False]


def test_texts_are_one_shard_of_classes_and_background_words():
    assert TEXT_ROWS.shards(ALL, INPUTS) == [0]
    assert TEXT_ROWS.photos(ALL, INPUTS, 0) == ()
    assert TEXT_ROWS.rows(ALL, INPUTS, 0) == 3  # cat, dog and sky
    assert TEXT_ROWS.rows(ALL, run_inputs(settings={"prompts": {"background": False}}), 0) == 2
    assert TEXT_ROWS.stored_rows(3) == 3
    assert TEXT_ROWS.read_by(ALL, INPUTS, 2) == (0,)


def test_texts_show_no_progress():
    assert TEXT_ROWS.total(ALL, INPUTS) == 0
    assert CANDIDATE_TEXT_ROWS.total(ALL, run_inputs(candidates=TEMPLATES)) == 3 * 3


def test_texts_are_addressed_by_the_key_of_their_stage_alone():
    for kind in (TEXT_ROWS, CANDIDATE_TEXT_ROWS):
        assert kind.content_key("key", {}) == digest("key") != kind.content_key("other", {})


def test_each_candidate_is_a_shard_with_its_template():
    inputs = run_inputs((A,), candidates=TEMPLATES)
    assert CANDIDATE_TEXT_ROWS.shards(ALL, inputs) == [0, 1, 2]
    templates = [CANDIDATE_TEXT_ROWS.shard_inputs(inputs, shard).config.prompts.template for shard in (0, 1, 2)]
    assert tuple(templates) == TEMPLATES
    assert CANDIDATE_TEXT_ROWS.shard_inputs(inputs, 1).shards == inputs.shards
    assert inputs.config.prompts.template == "a clean origami {}."
    assert [CANDIDATE_TEXT_ROWS.artifact_shard(shard) for shard in (0, 2)] == [0, 0]


def test_a_stage_reads_the_texts_of_all_candidates_and_a_sampled_one_those_of_the_sample():
    inputs = run_inputs(candidates=TEMPLATES, sampled=("one {}.", "a {}."))
    assert CANDIDATE_TEXT_ROWS.read_by(ALL, inputs, 7) == (0, 1, 2)
    assert CANDIDATE_TEXT_ROWS.read_by(Lengths(sampled=True), inputs, 7) == (2, 0)


def test_a_training_is_one_shard_of_all_photos_that_counts_iterations():
    inputs = run_inputs((A, B), (), (C,), training=Steps(600))
    assert TRAINING_ROWS.unit == "iterations"
    assert TRAINING_ROWS.shards(ALL, inputs) == [0]
    assert ids(TRAINING_ROWS.photos(ALL, inputs, 0)) == "abc"
    assert (TRAINING_ROWS.rows(ALL, inputs, 0), TRAINING_ROWS.total(ALL, inputs)) == (600, 600)
    assert TRAINING_ROWS.rows(ALL, INPUTS, 0) == 0  # a run that trains nothing
    assert TRAINING_ROWS.stored_rows(600) is None  # the curve has as many points as the log has
    assert TRAINING_ROWS.content_key("key", {"a": "1"}) == content_key({"a": "1"})
