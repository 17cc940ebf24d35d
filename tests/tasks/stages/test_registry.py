from dataclasses import replace

import pytest
from support.small_runs import TINY_NETWORK
from support.stage_groups import (
    CAMS_ON,
    DRAWN,
    EVERYTHING,
    MASKS_ON,
    NOTHING,
    PHOTOS_ON,
    PREDICTIONS,
    SCORES,
    TEXTS_ON,
    TRAINED_ON,
    WORDS,
)

from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.machine.devices import clip_precision, gpu_slots, training_precision
from clipes.tasks.machine.shipped_files import CLIP_MODELS
from clipes.tasks.models.clip import weights_digest
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage_keys import key_without_upstream
from clipes.tasks.stages.registry import STAGES, all_names, ranking_of, run_names, stage_keys
from clipes.tasks.stages.texts import RankingOfTemplates
from clipes.tasks.stages.words.word_texts import RankingOfWords
from clipes.tasks.training.recipes import read_recipe
from clipes_core.config.crf import DenseCrfConfig
from clipes_core.config.run import RunConfig, parse_config
from clipes_core.config.section import Section
from clipes_core.crf_backends import CRF_BACKENDS, CrfBackend
from clipes_core.vocabulary import ClassEntry, Vocabulary

BASE = {
    "name": "base",
    "dataset": {"root": "/data"},
    "clip": {"pretrained": "random:0", "precision": "fp32", "device": "cpu"},
    "train": {"mmseg_config": str(TINY_NETWORK), "init": "none", "precision": "fp32"},
}
OTHER_CRF = dict.fromkeys(DenseCrfConfig.model_fields, 7) | {"backend": "other"}
# For each setting: another value, and the stages whose key this value must change.
CHANGED_BY = {
    "name": ("other", NOTHING),
    "store": ("/elsewhere", NOTHING),
    # photos, labels and truth are in the content keys of shards
    "dataset.format": ("coco", NOTHING),
    "dataset.root": ("/other", NOTHING),
    "dataset.reach": (["/other"], NOTHING),
    "dataset.split": ("val", NOTHING),
    "dataset.truth": ("/masks", NOTHING),
    "dataset.empty": ("reject", NOTHING),
    "dataset.sample": (3, ()),
    "dataset.seed": (1, NOTHING),  # other scenes are other photos, which are in the content keys
    "dataset.count": (100, NOTHING),
    "dataset.classes": ("coco14", TEXTS_ON),
    "dataset.exif": ("apply", PHOTOS_ON),
    "dataset.max_side": (512, PHOTOS_ON),
    "dataset.jpeg_scale": ("reduced", PHOTOS_ON),
    "clip.model": ("ViT-B-32-quickgelu", EVERYTHING),
    "clip.pretrained": ("random:1", EVERYTHING),
    "clip.tokenizer": ("/other", NOTHING),  # the model digest covers the tokenizer of models that do not have CLIP's
    "clip.precision": ("bf16", PHOTOS_ON),
    "clip.pooling": ("cls", PHOTOS_ON),
    "clip.device": ("auto", NOTHING),
    "prompts.template": ("a {}.", ("texts", *WORDS, "cams", *MASKS_ON)),
    "prompts.fusion": ("feature", TEXTS_ON),
    "prompts.background": (False, TEXTS_ON),
    "prompts.leave_out": (["sky"], NOTHING),  # the words that remain are in the vocabulary of the inputs
    "prompts.names": (True, NOTHING),
    "cam.softmax": (False, CAMS_ON),
    "cam.refine": ("mhsa", CAMS_ON),
    "cam.box_threshold": (0.7, CAMS_ON),
    "cam.attention_blocks": (4, CAMS_ON),
    "cam.sinkhorn_rounds": (1, CAMS_ON),
    "cam.power": (1, CAMS_ON),
    "cam.scales": ([1.0, 0.5], CAMS_ON),
    "cam.flip": (True, CAMS_ON),
    "report.gallery": (0, NOTHING),
    "report.further": (5, NOTHING),
    "report.check.max_foreground": (0.5, NOTHING),
    "report.check.min_foreground": (0.05, NOTHING),
    "report.check.max_crf_change": (0.5, NOTHING),
    "report.check.min_agreement": (0.5, NOTHING),
    "crf.enabled": (False, MASKS_ON),
    "crf.backend": ("other", MASKS_ON),
    "crf.iter_max": (5, MASKS_ON),
    "crf.pos_w": (2, MASKS_ON),
    "crf.pos_xy_std": (2, MASKS_ON),
    "crf.bi_w": (5, MASKS_ON),
    "crf.bi_xy_std": (60, MASKS_ON),
    "crf.bi_rgb_std": (4, MASKS_ON),
    "crf.image": ("reference", MASKS_ON),
    "crf.background_power": (2, MASKS_ON),
    "crf.device": ("cpu", NOTHING),
    "confidence.source": ("cam", MASKS_ON),
    "train.enabled": (False, NOTHING),  # without training, the run leaves both stages out
    "train.mmseg_config": ("demo", TRAINED_ON),
    "train.loss": ("ce", TRAINED_ON),
    "train.mu": (0.9, TRAINED_ON),
    "train.iterations": (20, TRAINED_ON),
    "train.init": (str(CLIP_MODELS / "clipes-demo.safetensors"), TRAINED_ON),
    "train.seed": (1, TRAINED_ON),
    "train.precision": ("bf16", TRAINED_ON),
    "train.checkpoint_every": (5, NOTHING),
    "train.keep_checkpoints": (5, NOTHING),
    "train.validate_every": (5, NOTHING),
    "train.validate_photos": (5, NOTHING),
    "train.compare_masks": (True, NOTHING),
    # the evaluation photos are in the content keys of shards
    "evaluation.root": ("/other", NOTHING),
    "evaluation.split": ("val", NOTHING),
    "evaluation.truth": ("/masks", NOTHING),
    "evaluation.seed": (1, NOTHING),
    "evaluation.count": (100, NOTHING),
    "evaluation.mode": ("slide", PREDICTIONS),
    "evaluation.crop": (321, NOTHING),  # only read in mode slide
    "evaluation.stride": (107, NOTHING),
    "evaluation.scales": ([1.0, 0.5], SCORES),
    "evaluation.empty": ("leave_out", NOTHING),
    "evaluation.flip": (True, SCORES),
    "evaluation.merge": ("max", SCORES),
    "evaluation.crf.enabled": (True, SCORES),
    **{f"evaluation.crf.{name}": (value, NOTHING) for name, value in OTHER_CRF.items()},  # only read if enabled
    "execution.loader_workers": (0, NOTHING),
    "execution.decode_memory_mib": (1, NOTHING),
    "execution.cache_gb": (1, NOTHING),
    "execution.shards": (7, NOTHING),
    "execution.gpu_workers": (2, NOTHING),
    "execution.cpu_workers": (2, NOTHING),
    "execution.max_failure_rate": (0.5, NOTHING),
    "execution.tolerated_failures": (1, NOTHING),
    "execution.runner.kind": ("inline", NOTHING),
    "execution.retries": (0, NOTHING),
    "execution.shard_timeout_s": (60, NOTHING),
}
TEMPLATES = (("a {}.", "the {}."), ("the {}.",))  # candidates, and sampled candidates
BIRD = {"name": "bird", "words": "bird avian", "synonyms": ["bird", "avian"], "aliases": ["fowl"]}
VOCABULARY = {"classes": [BIRD, {"name": "cat"}], "background_words": ["sky"]}
CHANGED_BY_VOCABULARY = {
    "classes.name": ("hawk", TEXTS_ON),
    "classes.words": ("bird", TEXTS_ON),
    "classes.synonyms": (["bird"], NOTHING),  # sentence fusion reads `words`
    "classes.aliases": (["crow"], NOTHING),
    "classes.colour": ([1, 2, 3], MASKS_ON),
    "background_words": (["sky", "sea"], TEXTS_ON),
}


@pytest.fixture(autouse=True)
def _other_crf_backend(monkeypatch):
    """Register a second CRF backend whose labels differ."""
    monkeypatch.setitem(CRF_BACKENDS, "other", CrfBackend("not_imported:infer", exact=False))


def leaves(section, prefix=""):
    """Yield the dotted names of all settings."""
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield from leaves(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def with_value(values, key, value):
    head, _, rest = key.partition(".")
    return {**values, head: with_value(values.get(head, {}), rest, value) if rest else value}


def keys_of(config, vocabulary=None):
    known = vocabulary or load_vocabulary(config.dataset.classes)
    slots = gpu_slots(config.clip, config.execution)
    digest_, precision = weights_digest(config.clip), clip_precision(config.clip, slots)
    recipe = read_recipe(config, 1 + len(known.classes), training_precision(config.train, slots))
    candidates, sampled = TEMPLATES
    inputs = RunInputs(config, known, digest_, precision, RankingOfTemplates(candidates), sampled, recipe)
    keys = stage_keys(inputs) | stage_keys(replace(inputs, ranking=RankingOfWords(("fowl",))))
    return {name: keys[name] for name in STAGES if name in keys}


def changed_stages(before, after):
    return tuple(stage for stage in before if before[stage] != after[stage])


def test_every_setting_is_covered_by_the_table():
    assert sorted(leaves(RunConfig)) == sorted(CHANGED_BY)


@pytest.mark.parametrize("key", CHANGED_BY)
def test_a_setting_changes_the_keys_of_exactly_the_stages_that_read_it(key):
    value, expected = CHANGED_BY[key]
    before, after = parse_config(BASE), parse_config(with_value(BASE, key, value))
    assert before != after

    assert changed_stages(keys_of(before), keys_of(after)) == expected


def test_every_part_of_a_vocabulary_is_covered_by_the_table():
    parts = [f"classes.{name}" for name in ClassEntry.model_fields]
    assert set(Vocabulary.model_fields) == {"classes", "background_words"}
    assert sorted([*parts, "background_words"]) == sorted(CHANGED_BY_VOCABULARY)


@pytest.mark.parametrize("key", CHANGED_BY_VOCABULARY)
def test_a_vocabulary_entry_changes_the_keys_of_exactly_its_stages(key):
    value, expected = CHANGED_BY_VOCABULARY[key]
    part = key.removeprefix("classes.")
    other = {key: value} if part == key else {"classes": [{**BIRD, part: value}, {"name": "cat"}]}
    before, after = (Vocabulary.model_validate(each) for each in (VOCABULARY, {**VOCABULARY, **other}))
    config = parse_config(BASE)

    assert changed_stages(keys_of(config, before), keys_of(config, after)) == expected


@pytest.mark.parametrize("fusion", ["feature", "cam"])
@pytest.mark.parametrize(("part", "value", "expected"), [("synonyms", ["bird"], TEXTS_ON), ("words", "fowl", NOTHING)])
def test_feature_and_cam_fusion_read_synonyms_but_not_words(fusion, part, value, expected):
    config = parse_config(with_value(BASE, "prompts.fusion", fusion))
    other = {**VOCABULARY, "classes": [{**BIRD, part: value}, {"name": "cat"}]}
    before, after = (Vocabulary.model_validate(each) for each in (VOCABULARY, other))

    assert changed_stages(keys_of(config, before), keys_of(config, after)) == expected


def test_unused_background_words_change_no_key():
    config = parse_config(with_value(BASE, "prompts.background", False))
    before, after = ({**VOCABULARY, "background_words": words} for words in (["sky"], ["sea"]))

    assert changed_stages(*(keys_of(config, Vocabulary.model_validate(each)) for each in (before, after))) == NOTHING


def test_a_list_of_one_template_has_the_keys_of_that_template():
    before, after = (parse_config(with_value(BASE, "prompts.template", each)) for each in ("a {}.", ["a {}."]))
    assert keys_of(before) == keys_of(after)


@pytest.mark.parametrize("name", OTHER_CRF)
def test_the_crf_of_the_evaluation_changes_the_keys_of_its_scores(name):
    crf = with_value(with_value(BASE, "evaluation.crf.enabled", True), f"evaluation.crf.{name}", OTHER_CRF[name])
    before = with_value(BASE, "evaluation.crf.enabled", True)
    assert changed_stages(keys_of(parse_config(before)), keys_of(parse_config(crf))) == SCORES


@pytest.mark.parametrize("name", ["crop", "stride"])
def test_crops_change_the_keys_of_predictions_in_mode_slide(name):
    before = with_value(BASE, "evaluation.mode", "slide")
    after = with_value(before, f"evaluation.{name}", {"crop": 601, "stride": 107}[name])
    assert changed_stages(keys_of(parse_config(before)), keys_of(parse_config(after))) == PREDICTIONS


def test_mu_changes_no_key_if_the_loss_reads_no_confidence():
    plain = with_value(BASE, "train.loss", "ce")
    assert keys_of(parse_config(plain)) == keys_of(parse_config(with_value(plain, "train.mu", 0.5)))


def inputs_of(template, candidates=(), sampled=()):
    config = parse_config(with_value(BASE, "prompts.template", template))
    ranking = RankingOfTemplates(candidates) if candidates else None
    return RunInputs(config, Vocabulary.model_validate(VOCABULARY), "model", "fp32", ranking, sampled)


def test_stages_that_need_an_automatic_template_have_no_key_yet():
    candidates = ("a {}.", "the {}.")
    before, after = stage_keys(inputs_of("auto", candidates)), stage_keys(inputs_of("the {}.", candidates))
    assert list(before) == ["candidate_texts", "embeddings", "prompts", *DRAWN]
    assert list(after) == [stage for stage in STAGES if stage not in ("prompt_scores", *WORDS, *TRAINED_ON)]
    assert {stage: after[stage] for stage in before} == before
    assert stage_keys(inputs_of("the {}."))["cams"] == after["cams"]


def test_candidates_change_the_keys_of_their_stages_but_not_of_embeddings():
    two, three = (("a {}.", "the {}."), ("a {}.", "the {}.", "one {}."))
    before, after = (stage_keys(inputs_of("a {}.", each, ("a {}.",))) for each in (two, three))
    assert changed_stages(before, after) == ("candidate_texts", "prompts", "prompt_scores")
    others = stage_keys(inputs_of("a {}.", two, ("the {}.",)))
    assert changed_stages(before, others) == ("prompt_scores",)


def test_the_texts_of_a_candidate_have_the_key_of_a_run_with_it():
    own = stage_keys(inputs_of("the {}."))["texts"]
    ranked = inputs_of("auto", ("a {}.", "the {}."))
    assert key_without_upstream(STAGES["texts"], ranked.with_prompts(template="the {}.")) == own


def test_automatic_precision_has_the_keys_of_the_precision_it_selects():
    automatic = parse_config(with_value(BASE, "clip.precision", "auto"))
    assert keys_of(automatic) == keys_of(parse_config(BASE))


@pytest.mark.parametrize(
    ("precision", "in_key"),
    [("fp32", "fp32"), ("fp16", "fp16"), ("fast", "fast"), ("bf16", "bf16 in three products")],
)
def test_only_bf16_has_another_name_in_keys_than_in_the_config(precision, in_key):
    config = parse_config(with_value(BASE, "clip.precision", precision))
    assert RunInputs(config, load_vocabulary("voc12"), "digest", precision).image_network[-1] == in_key


def test_keys_are_distinct_and_have_16_hex_digits():
    keys = keys_of(parse_config(BASE))

    assert list(keys) == list(STAGES)
    assert len(set(keys.values())) == len(STAGES)
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys.values())


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("embeddings", ("embeddings", "prompts", "word_scores")),
        ("prompts", ("prompts",)),
        ("prompt_scores", ("prompt_scores",)),
        ("texts", ("candidate_texts", "prompts", "prompt_scores", "texts", *WORDS, "cams", *MASKS_ON)),
        ("word_texts", WORDS),
        ("word_scores", ("word_scores",)),
        ("cams", ("cams", *MASKS_ON)),
        ("masks", MASKS_ON),
        ("mask_scores", ("mask_scores",)),
        ("true_masks", ("true_masks",)),  # its results are in the fingerprints of the photos
        ("segmenter", TRAINED_ON),
        ("segmenter_agreement", ("segmenter_agreement",)),
        ("segmenter_scores", SCORES),
    ],
)
def test_a_new_version_changes_the_keys_of_the_stage_and_its_downstream(stage, expected, monkeypatch):
    config = parse_config(BASE)
    before = keys_of(config)

    monkeypatch.setattr(STAGES[stage], "version", STAGES[stage].version + 1)

    assert changed_stages(before, keys_of(config)) == expected


def test_stages_come_after_their_upstream():
    trained = ("segmenter", "segmenter_agreement", "segmenter_scores")
    assert run_names() == ("manifest", "texts", "cams", "masks", "true_masks", "mask_scores", DRAWN[1], *trained)
    ranking = {name for name in STAGES if ranking_of(name) is not None}
    assert set(run_names()) | ranking == set(all_names())
    for stage in STAGES.values():
        assert all(all_names().index(read.name) < all_names().index(stage.name) for read in stage.upstream)


def test_words_change_the_keys_of_their_stages_alone():
    before, after = (
        replace(inputs_of("a {}."), ranking=RankingOfWords(words)) for words in (("fowl",), ("fowl", "hawk"))
    )
    assert changed_stages(stage_keys(before), stage_keys(after)) == WORDS


def test_a_word_has_the_same_texts_whatever_the_vocabulary_and_the_fusion_are():
    texts = STAGES["texts"]
    ranking = RankingOfWords(("fowl",))
    one = ranking.inputs_of(inputs_of("a {}."), "fowl")
    other = parse_config(with_value(with_value(BASE, "prompts.template", "a {}."), "prompts.fusion", "cam"))
    two = ranking.inputs_of(RunInputs(other, load_vocabulary("voc12"), "model", "fp32"), "fowl")
    assert key_without_upstream(texts, one) == key_without_upstream(texts, two)


def test_stages_of_photos_have_the_columns_for_reuse_and_failures():
    for stage in (stage for stage in STAGES.values() if stage.kind.per_photo):
        needed = ["image_id", "status", "error", "error_kind", "input_digest", "output_digest"]
        assert stage.schema.names[:6] == needed
