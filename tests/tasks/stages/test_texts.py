from dataclasses import replace

import numpy as np
import pytest
from support.oracle import VOC_BACKGROUND_WORDS, VOC_WORDS, oracle_model, oracle_text_feature
from support.pool_calls import call
from support.prepared import prepare_run
from support.seeded_clip import write_seeded_clip
from support.small_runs import make_or_reuse_shard, planned

from clipes.tasks.plan.jobs import shard_job
from clipes.tasks.stages.texts import TEXTS, read_texts
from clipes_core.errors import PromptError, WeightsError


def plan_of(run):
    return planned(run, TEXTS, 0, {})


def make(run, pool):
    return make_or_reuse_shard(run, TEXTS, plan_of(run), pool)


def rows(run, record):
    return run.store.read(record.uri).to_pylist()


@pytest.fixture
def prepared(tiny):
    """Return a function that prepares a run up to the texts with the given prompt settings."""
    tiny.add("a")
    return lambda **prompts: prepare_run(tiny.config(prompts=prompts), "texts")


@pytest.fixture
def scenes_rows(scenes_made):
    return rows(scenes_made.run, scenes_made.of("texts")[0])


def test_rows_are_classes_in_order_of_id_then_background_words(scenes_rows):
    assert [row["class_id"] for row in scenes_rows] == [*range(1, 21), *[0] * 25]
    assert scenes_rows[2]["name"] == "bird"
    assert scenes_rows[2]["sentences"] == ["a clean origami bird avian."]
    assert [row["name"] for row in scenes_rows[20:]] == list(VOC_BACKGROUND_WORDS)
    assert scenes_rows[44]["sentences"] == ["a clean origami sign."]


def test_features_equal_those_of_the_oracle(scenes_rows, seeded_weights):
    model = oracle_model(seeded_weights)
    for row, words in zip(scenes_rows, (*VOC_WORDS, *VOC_BACKGROUND_WORDS), strict=True):
        expected = oracle_text_feature(model, [words], ("a clean origami {}.",))
        np.testing.assert_allclose(row["feature"], expected, rtol=0, atol=1e-5)


def test_the_record_counts_rows_and_time(prepared, pool):
    run = prepared()
    record = make(run, pool)

    assert (record.stage, record.shard, record.images, record.computed, record.cached) == ("texts", 0, 45, 45, False)
    assert record.seconds > 0
    assert record.worker.startswith("cpu:")
    assert record.uri == run.store.artifact_uri(plan_of(run).key)


def test_the_artifact_is_complete_and_records_its_origin(prepared, pool):
    run = prepared()
    assert not plan_of(run).cached

    record = make(run, pool)

    assert plan_of(prepared()).cached
    metadata = run.store.footer(record.uri).metadata
    assert metadata["config"] == run.config.model_dump_json()
    assert metadata["version"] == "0.1.0"
    assert metadata["stage_key"] == run.keys["texts"]


def test_the_artifact_key_depends_only_on_the_settings(prepared):
    keys = [plan_of(prepared(**prompts)).key for prompts in ({}, {}, {"template": "a {}."})]
    assert keys[0] == keys[1]
    assert keys[0].content_key != keys[2].content_key
    assert (keys[0].stage, keys[0].shard) == ("texts", 0)


@pytest.mark.parametrize(
    ("prompts", "count", "birds"),
    [
        ({"background": False}, 20, [["a clean origami bird avian."]]),
        ({"fusion": "feature"}, 45, [["a clean origami bird.", "a clean origami avian."]]),
        # bird, chair and tvmonitor have two words each, person has three
        ({"fusion": "cam"}, 50, [["a clean origami bird."], ["a clean origami avian."]]),
        ({"template": ["a {}.", "the {}."]}, 45, [["a bird avian.", "the bird avian."]]),
    ],
)
def test_sentences_depend_on_templates_and_fusion(prepared, pool, prompts, count, birds):
    run = prepared(**prompts)
    made = rows(run, make(run, pool))

    assert len(made) == count == plan_of(run).rows
    assert [row["sentences"] for row in made if row["name"] == "bird"] == birds
    np.testing.assert_allclose(np.linalg.norm([row["feature"] for row in made], axis=1), 1, atol=1e-5)


def test_fused_features_equal_those_of_the_oracle(prepared, pool, seeded_weights):
    run = prepared(fusion="feature", template=["a {}.", "the {}."])
    (bird,) = [row["feature"] for row in rows(run, make(run, pool)) if row["name"] == "bird"]
    expected = oracle_text_feature(oracle_model(seeded_weights), ["bird", "avian"], ("a {}.", "the {}."))
    np.testing.assert_allclose(bird, expected, rtol=0, atol=1e-5)


def test_texts_are_read_as_arrays_with_the_logit_scale_of_clip(scenes_made, scenes_rows, pool):
    run = scenes_made.run
    job = shard_job(TEXTS, plan_of(run), run.store, run.inputs, 0)
    texts = call(pool, read_texts, job, scenes_made.of("texts")[0].uri, timeout_s=60)

    assert texts.class_ids.tolist() == [row["class_id"] for row in scenes_rows]
    assert texts.features.dtype == np.float32
    assert texts.features.tolist() == [row["feature"] for row in scenes_rows]
    assert texts.logit_scale == pytest.approx(20, abs=0.02)


def test_a_sentence_that_is_too_long_is_an_error(prepared, pool):
    run = prepared(template="word " * 80 + "{}.")

    with pytest.raises(PromptError, match="has more than the 77 tokens that CLIP reads: shorten it"):
        make(run, pool)
    assert not plan_of(run).cached


def test_missing_weights_are_an_error(prepared, pool):
    run = prepared()
    clip = run.config.clip.model_copy(update={"pretrained": "/nowhere/vit.pt"})
    config = run.config.model_copy(update={"clip": clip})
    run = replace(run, inputs=replace(run.inputs, config=config))

    with pytest.raises(WeightsError, match=r"clip\.pretrained /nowhere/vit\.pt: expected a file or a tag"):
        make(run, pool)


def test_weights_that_were_replaced_after_the_planning_are_an_error(tiny, pool, tmp_path):
    weights = write_seeded_clip(tmp_path / "clip.pt")
    tiny.add("a")
    run = prepare_run(tiny.config(clip={"pretrained": str(weights)}), "texts")
    write_seeded_clip(weights, seed=7)

    with pytest.raises(WeightsError, match=r"^clip\.pretrained .*clip\.pt: the weights were replaced during the run: "):
        make(run, pool)
    assert not plan_of(run).cached
    write_seeded_clip(weights)
    assert make(run, pool).computed == 45
