from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image
from support.prepared import prepare, prepare_ranking, prepare_run
from support.small_runs import TINY_NETWORK, make_run, photos_by_shard
from support.toy_crf_backends import NOT_INSTALLED

from clipes.tasks.plan.caching import REUSE_ALL, Reuse
from clipes.tasks.plan.run_inputs import Ranking
from clipes.tasks.plan.sharding import shard_of
from clipes.tasks.runs.dry_run import plan_run
from clipes.tasks.runs.preparation import check_request, list_photos
from clipes.tasks.stages.embeddings import EMBEDDINGS
from clipes.tasks.stages.prompts import Prompts
from clipes.tasks.stages.registry import STAGES, run_names
from clipes.tasks.stages.segmenter import SEGMENTER, training_packages
from clipes.tasks.stages.texts import CandidateTexts, Texts
from clipes.tasks.storage.layout import ArtifactKey
from clipes_core.crf_backends import CRF_BACKENDS
from clipes_core.errors import ConfigError, DatasetError, WeightsError


@pytest.fixture
def six(tiny):
    """Return six photos in two shards, three of them with truth."""
    Image.new("L", (64, 48), 8).save(tiny.folder / "truth.png")
    for name in "abcdef":
        tiny.add(name, "cat;dog", truth="truth.png" if name in "abd" else "")
    return tiny


def prepared(tiny, until="mask_scores", reuse=REUSE_ALL, **sections):
    return prepare_run(tiny.config(**{"execution": {"shards": 2}, **sections}), until, reuse)


def test_the_words_that_clip_reads_decide_the_key_of_the_texts(six):
    def key(**prompts):
        return prepared(six, "texts", prompts=prompts).keys["texts"]

    assert len({key(), key(leave_out=["sky"]), key(leave_out=["sky", "sea"]), key(names=True)}) == 4
    assert key(names=["cat"]) == key()  # CLIP reads the name of this class in any case
    with pytest.raises(ConfigError, match=r"leave_out: clouds \(did you mean cloud\?\): the vocabulary has no such"):
        prepared(six, "texts", prompts={"leave_out": ["clouds"]})


def test_unknown_words_to_leave_out_are_reported_once(six, caplog):
    prepared(six, "texts", prompts={"leave_out": ["sky"]})
    assert "prompts.leave_out" not in caplog.text
    prepared(six, "texts", prompts={"leave_out": ["sky", "xyz"]})
    assert [message for message in caplog.messages if "prompts.leave_out" in message] == [
        "prompts.leave_out: these are no background words of the vocabulary, and are ignored: xyz"
    ]


def planned(run):
    """Return the planned numbers of images, copied rows and computed rows per stage, as `--plan` prints them."""
    plans = plan_run(run)
    return {plan.stage: (plan.images, plan.copied_rows, plan.computed_rows) for plan in plans}


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


def test_an_unknown_stage_is_refused_with_the_known_ones(six):
    message = rf"^--until mask: no such stage; the stages are: {', '.join(run_names())}$"
    with pytest.raises(ConfigError, match=message):
        prepared(six, until="mask")


def test_photos_that_cannot_be_listed_are_rejects(six):
    for name in "ef":
        (six.folder / f"{name}.png").unlink()

    run = prepared(six, execution={"max_failure_rate": 0})

    assert run.photos == 4
    assert [(reject.image_id, reject.stage, reject.kind) for reject in run.rejects] == [
        ("e", "manifest", "missing"),
        ("f", "manifest", "missing"),
    ]


def test_a_softmax_without_background_words_is_refused(six):
    vocabulary = six.folder / "bare.yaml"
    vocabulary.write_text("classes: [{name: cat}, {name: dog}]\n")
    bare = {"dataset": {"classes": str(vocabulary)}}
    with pytest.raises(ConfigError, match=r"bare\.yaml has no background_words"):
        prepared(six, **bare)
    assert prepared(six, **bare, cam={"softmax": False}).photos == 6
    assert prepared(six, **bare, prompts={"background": False}).photos == 6


@pytest.mark.parametrize(
    ("section", "error", "message"),
    [
        ({"dataset": {"classes": "voc11"}}, ConfigError, "no vocabulary 'voc11'"),
        ({"dataset": {"split": "/nowhere.csv"}}, DatasetError, r"no list file at /nowhere\.csv"),
        ({"clip": {"pretrained": "/nowhere.pt"}}, WeightsError, r"clip\.pretrained /nowhere\.pt: expected a file"),
    ],
)
def test_mistakes_in_the_config_are_reported_before_the_run_starts(six, section, error, message):
    config = six.config()
    for name, values in section.items():
        config = config.model_copy(update={name: getattr(config, name).model_copy(update=values)})
    with pytest.raises(error, match=message):
        prepare_run(config, "masks")


def test_a_missing_list_of_evaluation_photos_is_reported_first_if_it_is_needed(six):
    config = six.config(evaluation={"split": str(six.folder / "none.csv")}, train={"enabled": True})
    with pytest.raises(DatasetError, match=r"dataset.split: no list file at .*/none.csv"):
        check_request(config, "segmenter_scores")
    check_request(config, "masks")


@pytest.mark.parametrize("section", ["crf", "evaluation.crf"])
def test_a_crf_backend_without_its_package_is_refused_if_the_crf_is_enabled(six, monkeypatch, section):
    monkeypatch.setitem(CRF_BACKENDS, "toy", NOT_INSTALLED)

    def config(enabled):
        crf = {"enabled": enabled, "backend": "toy"}
        sections = {"train": {"enabled": True}, "evaluation": {"split": str(six.folder / "list.csv")}}
        sections.setdefault(section.partition(".")[0], {}).update(crf if section == "crf" else {"crf": crf})
        return six.config(**sections)

    check_request(config(enabled=False), "masks")
    check_request(config(enabled=True), "cams")
    with pytest.raises(ConfigError, match=rf"^{section}\.backend=toy: the package no_such_module is not installed"):
        check_request(config(enabled=True), "masks" if section == "crf" else "segmenter_scores")


def test_a_network_that_cannot_be_built_is_reported_before_the_run_starts(six):
    network = six.folder / "own.py"
    network.write_text(f'_base_ = {str(TINY_NETWORK)!r}\nmodel = dict(decode_head=dict(type="FCN"))\n')
    training = {"train": {"enabled": True, "init": "none", "mmseg_config": str(network)}}
    with pytest.raises(ConfigError, match="its model has the type 'FCN', which is not registered in MMSegmentation"):
        prepared(six, "segmenter", **training)
    assert prepared(six, "masks", **training).photos == 6


COUNTING_HOOK = """
from pathlib import Path
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class CountsTrials(Hook):
    def __init__(self, log):
        with Path(log).open("a") as file:
            file.write("tried\\n")
"""


def test_a_training_is_tried_unless_a_segmenter_was_trained_with_the_same_settings(six, monkeypatch):
    log, network = six.folder / "log.txt", six.folder / "own.py"
    (six.folder / "counts_trials.py").write_text(COUNTING_HOOK)
    monkeypatch.syspath_prepend(six.folder)
    network.write_text(
        f'_base_ = {str(TINY_NETWORK)!r}\ncustom_imports = dict(imports="counts_trials")\n'
        f'custom_hooks = [dict(type="CountsTrials", log={str(log)!r})]\n'
    )

    def tried(reuse=REUSE_ALL, **train):
        """Return a prepared run, and whether its preparation has tried the training."""
        log.write_text("")
        train = {"enabled": True, "init": "none", "mmseg_config": str(network), **train}
        return prepared(six, "segmenter", reuse, train=train), bool(log.read_text())

    run, was_tried = tried()
    assert was_tried
    elsewhere = ArtifactKey(SEGMENTER.name, run.keys[SEGMENTER.name], 0, "0" * 16)  # trained on other photos
    with run.store.writer(elsewhere, SEGMENTER.schema, {"packages": "torch 1.0"}):
        pass
    assert tried()[1]
    with run.store.writer(elsewhere, SEGMENTER.schema, {"packages": training_packages()}):
        pass
    assert not tried()[1]
    assert tried(Reuse(fresh=True))[1]
    assert tried(seed=1)[1]
    Path(run.store.artifact_uri(elsewhere)).write_bytes(b"damaged")
    assert tried()[1]


def test_stage_keys_depend_only_on_the_config(six):
    one, same, other = prepared(six), prepared(six), prepared(six, crf={"iter_max": 2})
    assert one.keys == same.keys
    assert [stage for stage in one.keys if one.keys[stage] != other.keys[stage]] == ["masks", "mask_scores"]


def test_a_plan_has_one_line_per_stage(six):
    plans = plan_run(prepared(six))

    assert [plan.stage for plan in plans] == ["texts", "cams", "masks", "mask_scores"]
    assert [plan.shards for plan in plans] == [1, 2, 2, len(photos_by_shard(prepared(six), STAGES["mask_scores"]))]
    assert [plan.cached_shards for plan in plans] == [0, 0, 0, 0]
    assert [plan.stage for plan in plan_run(prepared(six, until="cams"))] == ["texts", "cams"]
    assert plan_run(prepared(six, until="manifest")) == []


def test_a_plan_writes_nothing(six):
    plan_run(prepared(six))
    assert not (six.folder / "store").exists()


def planned_and_actual(run, pool):
    """Run as planned, and return the planned and the actual counts of all stages except texts."""
    plan = planned(run)
    made = make_run(run, pool)
    texts = plan.pop("texts")
    assert texts == (45, 0, sum(record.computed for record in made.of("texts")))
    return plan, made.counts()


def test_a_plan_of_a_repeated_run_equals_the_actual_run(six, pool):
    plan, made = planned_and_actual(prepared(six), pool)
    assert plan == made == {"cams": (6, 0, 6), "masks": (6, 0, 6), "mask_scores": (3, 0, 3)}

    plan, made = planned_and_actual(prepared(six), pool)
    assert plan == made == {"cams": (6, 0, 0), "masks": (6, 0, 0), "mask_scores": (3, 0, 0)}
    assert [each.cached_shards == each.shards for each in plan_run(prepared(six))] == [True] * 4


def test_a_plan_after_changed_photos_equals_the_actual_run(six, pool):
    make_run(prepared(six), pool)
    six.label("a", "dog", "truth.png")
    six.add("g", "cat")
    six.remove("f")

    plan, made = planned_and_actual(prepared(six), pool)

    assert plan == made
    assert [made[stage][2] for stage in made] == [2, 2, 1]  # a and g are new or changed; of these, only a has truth


def test_a_plan_after_changed_settings_equals_the_actual_run(six, pool):
    make_run(prepared(six), pool)
    plan, made = planned_and_actual(prepared(six, crf={"enabled": False}), pool)
    assert plan == made == {"cams": (6, 0, 0), "masks": (6, 0, 6), "mask_scores": (3, 0, 3)}


def test_a_plan_of_a_fresh_run_equals_the_actual_run(six, pool):
    make_run(prepared(six), pool)
    plan, made = planned_and_actual(prepared(six, reuse=Reuse(fresh=True)), pool)
    assert plan == made == {"cams": (6, 0, 6), "masks": (6, 0, 6), "mask_scores": (3, 0, 3)}


def test_a_plan_with_another_number_of_shards_equals_the_actual_run(six, pool):
    make_run(prepared(six), pool)
    plan, made = planned_and_actual(prepared(six, execution={"shards": 3}), pool)
    assert plan == made
    assert made["cams"][0] == 6


def test_a_plan_counts_rows_whose_cams_are_missing_as_computed(six, pool):
    """Only recomputing the CAMs shows that they are unchanged, so the plan counts their masks as computed."""
    first = make_run(prepared(six), pool)
    Path(first.of("cams")[0].uri).unlink()
    gone = first.of("cams")[0].images

    plan, made = planned_and_actual(prepared(six), pool)

    assert plan["cams"] == made["cams"] == (6, 0, gone)
    assert plan["masks"] == (6, 0, gone)
    assert made["masks"] == (6, 0, 0)


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


def test_photos_without_any_label_are_refused(six):
    for name in "abcdef":
        six.label(name, "")
    with pytest.raises(DatasetError) as error:
        prepared(six)
    assert str(error.value) == (
        "none of the 6 photos has a label, so every mask would be all background: correct dataset.format, "
        "dataset.split or the labels"
    )
    six.label("a", "giraffe")
    with pytest.raises(DatasetError, match="or the labels; reason for the first of 1 rejects: unknown class"):
        prepared(six)


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


class ReadsTheSegmenter(Texts):
    """A stage without a condition that reads the segmenter."""

    name, upstream = "reads_the_segmenter", (SEGMENTER,)


def test_a_stage_is_left_out_if_its_upstream_stage_is(six, monkeypatch):
    monkeypatch.setitem(STAGES, "reads_the_segmenter", ReadsTheSegmenter())
    assert prepared(six, until="reads_the_segmenter").stages[-1] == "mask_scores"  # although it is left out

    monkeypatch.setitem(STAGES, "texts_again", type("TextsAgain", (Texts,), {"name": "texts_again"})())
    for until in ("segmenter_scores", "reads_the_segmenter"):
        with pytest.raises(ConfigError, match=rf"^--until {until}: .+; set train\.enabled=true, or name an earlier"):
            prepared(six, until=until)


def test_a_stage_with_a_condition_must_name_the_setting_that_adds_it():
    with pytest.raises(TypeError, match=r"^Conditional overrides `enabled`: also set `enabled_by`"):

        class Conditional(Texts):
            def enabled(self, config):
                return False


def test_a_sample_contains_every_smaller_sample_and_changes_no_key(six):
    samples = [
        {photo.image_id for photo in list_photos(six.config(dataset={"sample": count})).photos} for count in range(1, 8)
    ]
    assert [len(sample) for sample in samples] == [1, 2, 3, 4, 5, 6, 6]
    assert all(smaller <= larger for smaller, larger in pairwise(samples))
    assert prepared(six, dataset={"sample": 3}).keys == prepared(six).keys


def test_a_sample_has_its_share_of_the_rejects(tiny):
    for number in range(40):
        tiny.add(f"p{number}", "cat" if number % 2 else "no_such_class")
    listing = list_photos(tiny.config(dataset={"sample": 20}))
    assert len(listing.photos) + len(listing.rejects) == 20
    assert listing.photos
    assert listing.rejects
