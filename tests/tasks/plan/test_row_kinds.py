from dataclasses import dataclass

import pytest
from support.plain_runs import Lengths, photo, run_inputs

from clipes.tasks.plan.keys import content_key, digest
from clipes.tasks.plan.row_kinds import CANDIDATE_TEXT_ROWS, EVALUATION_ROWS, PHOTO_ROWS, TEXT_ROWS, TRAINING_ROWS
from clipes.tasks.stages.texts import RankingOfTemplates
from clipes.tasks.stages.words.word_texts import RankingOfWords

A, B, C = photo("a"), photo("b", truth=False), photo("c", class_ids=())
ALL, TRUE, LABELLED = Lengths(), Lengths(needs_truth=True), Lengths(needs_labels=True)
INPUTS = run_inputs((A, B), (), (C,), evaluation={4: (C, A)})
TEMPLATES = ("a {}.", "the {}.", "one {}.")


@dataclass(frozen=True)
class Steps:
    """The facts about a training that planning needs."""

    iterations: int
    digest: str = "d"
    imports: tuple[str, ...] = ()


def ids(photos):
    return "".join(each.image_id for each in photos)


@pytest.mark.parametrize(
    ("stage", "expected"), [(ALL, {0: "ab", 2: "c"}), (TRUE, {0: "a", 2: "c"}), (LABELLED, {0: "ab"})]
)
def test_shards_without_a_row_are_left_out(stage, expected):
    assert {
        shard: ids(PHOTO_ROWS.photos(stage, INPUTS, shard)) for shard in PHOTO_ROWS.shards(stage, INPUTS)
    } == expected
    assert {shard: PHOTO_ROWS.row_count(stage, INPUTS, shard) for shard in expected} == {
        shard: len(photos) for shard, photos in expected.items()
    }
    assert PHOTO_ROWS.total(stage, INPUTS) == sum(map(len, expected.values()))


def test_evaluation_rows_are_those_of_the_evaluation_photos():
    assert EVALUATION_ROWS.shards(LABELLED, INPUTS) == [4]
    assert ids(EVALUATION_ROWS.photos(ALL, INPUTS, 4)) == "ca"
    assert (EVALUATION_ROWS.row_count(LABELLED, INPUTS, 4), EVALUATION_ROWS.total(ALL, INPUTS)) == (1, 2)
    assert EVALUATION_ROWS.shards(ALL, run_inputs((A,))) == []


def test_a_shard_of_photos_reads_the_upstream_shard_of_the_same_number():
    for kind in (PHOTO_ROWS, EVALUATION_ROWS):
        assert kind.shards_read_by(ALL, INPUTS, 2) == (2,)
        assert kind.artifact_shard(2) == 2
        assert kind.stored_rows(7) == 7
        assert kind.content_key("key", {"a": "1"}) == content_key({"a": "1"})


def test_only_kinds_of_photos_have_a_row_per_photo():
    assert all(kind.per_photo for kind in (PHOTO_ROWS, EVALUATION_ROWS))
    assert not any(kind.per_photo for kind in (TEXT_ROWS, CANDIDATE_TEXT_ROWS, TRAINING_ROWS))
    assert [kind.of_evaluation for kind in (PHOTO_ROWS, EVALUATION_ROWS, TRAINING_ROWS)] == [False, True, False]


def test_all_texts_are_in_one_shard():
    assert TEXT_ROWS.shards(ALL, INPUTS) == [0]
    assert TEXT_ROWS.photos(ALL, INPUTS, 0) == ()
    assert TEXT_ROWS.row_count(ALL, INPUTS, 0) == 3  # cat and dog, and the background word sky
    assert TEXT_ROWS.row_count(ALL, run_inputs(settings={"prompts": {"background": False}}), 0) == 2
    assert TEXT_ROWS.stored_rows(3) == 3
    assert TEXT_ROWS.shards_read_by(ALL, INPUTS, 2) == (0,)


def test_texts_are_not_counted_in_the_progress():
    assert TEXT_ROWS.total(ALL, INPUTS) == 0
    assert CANDIDATE_TEXT_ROWS.total(ALL, run_inputs(ranking=RankingOfTemplates(TEMPLATES))) == 3 * 3


def test_the_content_key_of_texts_depends_only_on_their_stage_key():
    for kind in (TEXT_ROWS, CANDIDATE_TEXT_ROWS):
        assert kind.content_key("key", {}) == digest("key") != kind.content_key("other", {})


def test_each_candidate_template_has_its_own_shard():
    inputs = run_inputs((A,), ranking=RankingOfTemplates(TEMPLATES))
    assert CANDIDATE_TEXT_ROWS.shards(ALL, inputs) == [0, 1, 2]
    templates = [CANDIDATE_TEXT_ROWS.shard_inputs(inputs, shard).config.prompts.template for shard in (0, 1, 2)]
    assert tuple(templates) == TEMPLATES
    assert CANDIDATE_TEXT_ROWS.shard_inputs(inputs, 1).shards == inputs.shards
    assert inputs.config.prompts.template == "a clean origami {}."
    assert [CANDIDATE_TEXT_ROWS.artifact_shard(shard) for shard in (0, 2)] == [0, 0]


def test_each_word_has_its_own_shard_of_one_text():
    inputs = run_inputs((A,), ranking=RankingOfWords(("kitten", "tom")))
    assert CANDIDATE_TEXT_ROWS.shards(ALL, inputs) == [0, 1]
    own = CANDIDATE_TEXT_ROWS.shard_inputs(inputs, 1)
    assert [entry.name for entry in own.vocabulary.classes] == ["tom"]
    assert own.config.prompts.background is False
    assert CANDIDATE_TEXT_ROWS.row_count(ALL, inputs, 1) == 1
    assert CANDIDATE_TEXT_ROWS.shards_read_by(ALL, inputs, 7) == (0, 1)


def test_only_sampled_stages_read_the_texts_of_a_sample_of_candidates():
    inputs = run_inputs(ranking=RankingOfTemplates(TEMPLATES), sampled=("one {}.", "a {}."))
    assert CANDIDATE_TEXT_ROWS.shards_read_by(ALL, inputs, 7) == (0, 1, 2)
    assert CANDIDATE_TEXT_ROWS.shards_read_by(Lengths(sampled=True), inputs, 7) == (2, 0)


def test_a_training_is_one_shard_and_counts_iterations():
    inputs = run_inputs((A, B), (), (C,), training=Steps(600))
    assert TRAINING_ROWS.unit == "iterations"
    assert TRAINING_ROWS.shards(ALL, inputs) == [0]
    assert ids(TRAINING_ROWS.photos(ALL, inputs, 0)) == "abc"
    assert (TRAINING_ROWS.row_count(ALL, inputs, 0), TRAINING_ROWS.total(ALL, inputs)) == (600, 600)
    assert TRAINING_ROWS.row_count(ALL, INPUTS, 0) == 0  # a run without a training
    assert TRAINING_ROWS.stored_rows(600) is None  # the number of points on the curve is not known in advance
    assert TRAINING_ROWS.content_key("key", {"a": "1"}) == content_key({"a": "1"})
