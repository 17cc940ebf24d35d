from dataclasses import fields, replace

import pytest
from support.small_runs import TINY_NETWORK
from support.stage_numbers import (
    cams_numbers,
    candidate_texts_numbers,
    embeddings_numbers,
    mask_scores_numbers,
    masks_numbers,
    prompt_scores_numbers,
    prompts_numbers,
    segmenter_agreement_numbers,
    segmenter_numbers,
    segmenter_scores_numbers,
    texts_numbers,
    word_scores_numbers,
    word_texts_numbers,
)
from support.voc_scenes import NINE, SIZES

from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.machine.devices import clip_precision, gpu_slots, training_precision
from clipes.tasks.machine.shipped_files import CLIP_MODELS
from clipes.tasks.models.clip import weights_digest
from clipes.tasks.plan.keys import digest
from clipes.tasks.plan.row_schema import IN_DIGEST
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

NOTHING = ()
SCORES = ("segmenter_scores",)
PREDICTIONS = ("segmenter_agreement", *SCORES)
TRAINED_ON = ("segmenter", *PREDICTIONS)
MASKS_ON = ("masks", "mask_scores", *TRAINED_ON)
CAMS_ON = ("prompt_scores", "cams", *MASKS_ON)
PHOTOS_ON = ("embeddings", "prompts", "prompt_scores", "word_scores", "cams", *MASKS_ON)
TEXTS_ON = ("candidate_texts", "prompts", "prompt_scores", "texts", "word_scores", "cams", *MASKS_ON)
WORDS = ("word_texts", "word_scores")
DRAWN = ("true_masks", "evaluation_true_masks")  # they depend on annotation files only
EVERYTHING = tuple(stage for stage in STAGES if stage not in DRAWN)

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


# The version of each stage, and its results on scenes in fp32. If you change results on purpose, raise the version
# in the file of the stage, so that no artifact with old results is reused, and update both, here and in
# `test_golden_numbers.py`.
NUMBERS = {
    "candidate_texts": (1, candidate_texts_numbers, [3, 45, 0.081735, 0.040718, 0.003056, 0.001661], 1e-5),
    "embeddings": (1, embeddings_numbers, [20.007231, 0.586227, 0.284586, 0.066938, 0.02753], 1e-4),
    "prompts": (1, prompts_numbers, [2.326432, 3.865407, 1.415088, 4.238917, 2.657432, 8.863812], 1e-3),
    "prompt_scores": (
        1,
        prompt_scores_numbers,
        [0.639732, 0.299665, 0.673996, 0.657199, 0.527511, 0.140904, 0.571763, 0.47673],
        5e-4,
    ),
    "texts": (1, texts_numbers, [45, 0.08221, 0.041089, 0.002895, 0.001448], 1e-5),
    "word_texts": (1, word_texts_numbers, [2, 1, 0.082451, 0.040056, 0.004852, 0.00111], 1e-5),
    "word_scores": (1, word_scores_numbers, [-0.134274, -0.048542, 0.43911, 1.693631], 1e-3),
    "cams": (
        1,
        cams_numbers,
        [0.023264, 0.038654, 0.103072, 0.050807, 0.38694, 0.189486, 0.279364, 0.147016, 0.399754, 0.202419],
        1e-4,
    ),
    "masks": (
        1,
        masks_numbers,
        [0.736886, 0.016629, 0.246484, 0.990581, 1.825167, 0.907937],
        2e-3,  # five pixels of the last class shift the mean id by this much
    ),
    "segmenter": (
        1,
        segmenter_numbers,
        [4.264147, 2.586156, 1.412224, 2.10443, 1.799401, 0.047686, 0.95682],
        1e-2,  # after forty steps, processors differ
    ),
    "segmenter_agreement": (1, segmenter_agreement_numbers, [0.372224, 0.310935], 2e-2),
    "segmenter_scores": (1, segmenter_scores_numbers, [0.529183, 0.047619, 0.001291], 1e-2),
    "mask_scores": (2, mask_scores_numbers, [0.528013, 0.140904, 0.571763, 0.47673, 0.569029, 0.660658], 5e-4),
}


def test_all_stages_but_those_of_annotations_have_numbers():  # see test_true_masks.py for these stages
    assert {*NUMBERS, *DRAWN} == {*STAGES}


@pytest.mark.parametrize("stage", NUMBERS)
def test_results_do_not_change_without_a_new_version(stage, scenes_trained, scenes_made, scenes_ranked, words_ranked):
    version, numbers, expected, tolerance = NUMBERS[stage]
    made = scenes_trained if stage in TRAINED_ON else scenes_made if stage in run_names() else scenes_ranked
    made = words_ranked if stage in WORDS else made
    width, height = SIZES[0]

    assert STAGES[stage].version == version
    assert numbers(made, NINE[0], (height, width)) == pytest.approx(expected, abs=tolerance)


def columns_digest(stage):
    added = {each.name for each in fields(stage.row) if not each.metadata[IN_DIGEST]}
    return digest([[field.name, str(field.type)] for field in stage.schema if field.name not in added])


def test_columns_do_not_change_without_a_new_version():
    """Columns outside the digests of rows may be added, because they are null in rows of earlier versions."""
    columns = {stage.name: (stage.version, columns_digest(stage)) for stage in STAGES.values()}
    assert columns == {
        "candidate_texts": (1, "2235eaf955f02ed8"),
        "embeddings": (1, "0857ee90d5e2e3f0"),
        "prompts": (1, "50b80c48531c1990"),
        "prompt_scores": (1, "66d62279a5d7e494"),
        "texts": (1, "2235eaf955f02ed8"),
        "word_texts": (1, "2235eaf955f02ed8"),
        "word_scores": (1, "c4f5c8c5a15fb0b3"),
        "cams": (1, "1639af8b59dc1e45"),
        "masks": (1, "9d77dec183d30bbe"),
        "mask_scores": (2, "0afec0fe9e26c36d"),
        "true_masks": (1, "5a38df4b150bd2ef"),
        "evaluation_true_masks": (1, "5a38df4b150bd2ef"),
        "segmenter": (1, "be284e52abe27072"),
        "segmenter_agreement": (1, "cfb463d39398d7c0"),
        "segmenter_scores": (1, "a0c552f6a5b0b560"),
    }
