from dataclasses import dataclass

import pytest
from support.prepared import prepare, prepare_ranking, prepared
from support.small_runs import photos_by_shard

from clipes.tasks.plan.run_inputs import Ranking
from clipes.tasks.plan.sharding import shard_of
from clipes.tasks.stages.embeddings import EMBEDDINGS
from clipes.tasks.stages.prompts import Prompts
from clipes.tasks.stages.registry import STAGES, run_names
from clipes.tasks.stages.texts import CandidateTexts, Texts
from clipes_core.errors import ConfigError


def test_the_words_that_clip_reads_decide_the_key_of_the_texts(six):
    def key(**prompts):
        return prepared(six, "texts", prompts=prompts).keys["texts"]

    assert len({key(), key(leave_out=["sky"]), key(leave_out=["sky", "sea"]), key(names=True)}) == 4
    assert key(names=["cat"]) == key()  # CLIP reads the name of this class in any case
    with pytest.raises(ConfigError, match=r"leave_out: clouds \(did you mean cloud\?\): the vocabulary has no such"):
        prepared(six, "texts", prompts={"leave_out": ["clouds"]})


def test_photos_are_listed_in_shards_without_being_opened(six):
    (six.folder / "b.png").write_bytes(b"no picture")

    run = prepared(six)

    assert run.photos == 6
    assert run.rejects == ()
    found = {photo.image_id: shard for shard, photos in run.inputs.shards.items() for photo in photos}
    assert found == {name: shard_of(name, 2) for name in "abcdef"}
    assert list(run.inputs.shards) == sorted(run.inputs.shards)


def test_shards_without_photos_are_left_out(six):
    run = prepared(six, execution={"shards": 6})
    assert list(run.inputs.shards) == sorted({shard_of(name, 6) for name in "abcdef"})
    assert len(run.inputs.shards) < 6
    assert all(run.inputs.shards.values())


def test_shards_that_may_take_too_long_are_reported_before_the_run_starts(six, caplog):
    prepared(six, "masks", execution={"shards": 1, "shard_timeout_s": 10})
    reported = [message for message in caplog.messages if "the largest shard has 6 photos" in message]
    assert [message.partition(":")[0] for message in reported] == ["cams"]  # the stage whose settings suffice for all
    caplog.clear()
    prepared(six, "masks", execution={"shards": 1, "shard_timeout_s": 12})
    assert "largest shard" not in caplog.text


def test_a_crf_on_cuda_is_refused_if_the_networks_run_on_the_cpu(six):
    with pytest.raises(
        ConfigError, match=r"^crf\.device is cuda, but clip\.device stands for cpu on this host; [^\n]+$"
    ):
        prepared(six, crf={"backend": "lattice", "device": "cuda"})
    prepared(six, "cams", crf={"backend": "lattice", "device": "cuda"})


def test_only_photos_with_truth_are_scored(six):
    run = prepared(six)

    scored = [photo.image_id for photos in photos_by_shard(run, STAGES["mask_scores"]).values() for photo in photos]
    masked = [photo.image_id for photos in photos_by_shard(run, STAGES["masks"]).values() for photo in photos]

    assert sorted(scored) == list("abd")
    assert sorted(masked) == list("abcdef")


def test_shards_without_truth_are_not_scored(six):
    for name in "abd":
        six.label(name, "cat")
    assert photos_by_shard(prepared(six), STAGES["mask_scores"]) == {}


def test_until_sets_the_last_stage_of_a_run(six):
    run = prepared(six, until="masks")
    assert run.stages == ("texts", "cams", "masks")
    assert prepared(six, until="manifest").stages == ()


def test_stage_keys_depend_only_on_the_config(six):
    one, same, other = prepared(six), prepared(six), prepared(six, crf={"iter_max": 2})
    assert one.keys == same.keys
    assert [stage for stage in one.keys if one.keys[stage] != other.keys[stage]] == ["masks", "mask_scores"]


def test_an_automatic_template_is_chosen_before_texts_and_cams(six):
    run = prepared(six, prompts={"template": "auto"})
    assert run.chooses_template
    assert run.stages == ("candidate_texts", "embeddings", "prompts", "texts", "cams", "masks", "mask_scores")
    assert list(run.keys) == ["candidate_texts", "embeddings", "prompts"]
    assert not prepared(six, until="manifest", prompts={"template": "auto"}).chooses_template

    chosen = run.with_inputs(run.inputs.with_prompts(template="the {}."))
    explicit = prepared(six, prompts={"template": "the {}."})
    assert not chosen.chooses_template
    assert {stage: chosen.keys[stage] for stage in explicit.keys} == explicit.keys
    assert {stage: chosen.keys[stage] for stage in run.keys} == run.keys


def test_remarks_about_the_data_set_are_part_of_the_run(six):
    six.label("a", "cat,dog")
    (note,) = prepared(six).notes
    assert note.endswith("clipes separated them: 1 (the first is a)")
    assert prepared(six).photos == 6


def test_a_ranking_reads_labelled_photos_and_scores_those_with_truth(six):
    six.label("a", "", "truth.png")
    run = prepare_ranking(six.config(execution={"shards": 2}), ("a {}.", "the {}."), scored_photos=9)
    assert run.inputs.sample == {"b", "d"}
    rows = {
        name: sorted(photo.image_id for photos in photos_by_shard(run, STAGES[name]).values() for photo in photos)
        for name in ("embeddings", "prompts", "prompt_scores")
    }
    assert rows == {"embeddings": list("bcdef"), "prompts": list("bcdef"), "prompt_scores": ["b", "d"]}
    assert run.shards(STAGES["candidate_texts"]) == [0, 1]


@dataclass(frozen=True)
class RankingOfColours(Ranking):
    """A kind of ranking that only this file knows: of words to put before the name of each class."""

    ranks = entry = "colours"
    files = "colours.parquet"

    def inputs_of(self, inputs, candidate):
        return inputs.with_prompts(template=f"a {candidate} {{}}.")


class ColourTexts(CandidateTexts):
    name, ranking = "colour_texts", RankingOfColours


COLOUR_TEXTS = ColourTexts()


class ColourScores(Prompts):
    name, ranking = "colour_scores", RankingOfColours
    upstream = (COLOUR_TEXTS, EMBEDDINGS)


def test_a_new_kind_of_ranking_needs_only_its_own_class_and_its_stages(six, monkeypatch):
    for stage in (COLOUR_TEXTS, ColourScores()):
        monkeypatch.setitem(STAGES, stage.name, stage)

    run = prepare(six.config(), RankingOfColours(("red", "blue")))

    assert (run.stages, run.until) == (("embeddings", "colour_texts", "colour_scores"), "colour_scores")
    assert list(run.keys) == list(run.stages)
    assert run.shards(COLOUR_TEXTS) == [0, 1]
    assert COLOUR_TEXTS.kind.shard_inputs(run.inputs, 1).config.prompts.template == "a blue {}."
    assert "colour_scores" not in run_names()
    assert "colour_texts" not in prepare_ranking(six.config(), ("a {}.",)).stages


def test_a_stage_reads_the_texts_of_its_templates(six):
    run = prepare_ranking(six.config(), ("a {}.", "the {}.", "one {}."), 9)
    inputs = run.inputs.with_sampled(("one {}.", "a {}."))
    assert STAGES["prompts"].shards_read(STAGES["candidate_texts"], inputs, 7) == (0, 1, 2)
    assert STAGES["prompts"].shards_read(STAGES["embeddings"], inputs, 7) == (7,)
    assert STAGES["prompt_scores"].shards_read(STAGES["candidate_texts"], inputs, 7) == (2, 0)
    assert STAGES["cams"].shards_read(STAGES["texts"], inputs, 7) == (0,)


def test_a_stage_with_a_condition_must_name_the_setting_that_adds_it():
    with pytest.raises(TypeError, match=r"^Conditional overrides `enabled`: also set `enabled_by`"):

        class Conditional(Texts):
            def enabled(self, config):
                return False
