from dataclasses import replace

import pytest
from support.ledger_records import reject
from support.plain_reports import class_scores, plain_facts
from support.plain_runs import photo
from support.run_contents import TRAINING

from clipes.tasks.report.notes import RESUME, Note, headline, notes, state_of
from clipes.tasks.report.photo_counts import PhotoCounts
from clipes.tasks.runs.photos_to_check import PhotoToCheck

PHOTOS = photo("a", (1,)), photo("b", (2,))
NOTHING_FOUND = "clipes checked the masks without truth and found nothing suspicious, which does not prove them right."
EVALUATION = {"evaluation": {"split": "val"}}


@pytest.fixture
def facts(tmp_path):
    """Return the facts of a run whose photos all have labels and truth, so that there is nothing else to note."""
    ended = {"pseudo_mask": class_scores(0.5, images=2), "training": TRAINING}
    return plain_facts(tmp_path, photos=PHOTOS, settings=EVALUATION, metrics=ended)


def updated(facts, run=None, metrics=None, **status):
    """Return the facts with other entries of run.json and metrics.json and other values of the run status."""
    own = {"run": {**facts.status.run, **(run or {})}, "metrics": {**(facts.status.metrics or {}), **(metrics or {})}}
    return replace(facts, status=replace(facts.status, **own, **status))


def with_masks(facts, masks=3, to_check=0):
    photos = {str(number): PhotoToCheck(str(number), (), 1.0) for number in range(to_check)}
    return replace(facts, masks=masks, to_check=photos)


def shards(stage, **states):
    numbered = [(state, shard) for state, found in states.items() for shard in found]
    return [{"stage": stage, "shard": shard, "state": state, "artifact": ""} for state, shard in numbered]


def texts(facts):
    return [note.text for note in notes(facts)]


def test_a_complete_run_has_no_notes(facts):
    assert notes(facts) == []


def test_the_warnings_of_a_run_are_noted(facts):
    assert notes(updated(facts, metrics={"warnings": ["one", "two"]})) == [Note("warn", "one"), Note("warn", "two")]


def test_remarks_about_the_data_set_are_notes(facts):
    noted = updated(facts, {"notes": ["3 lines were corrected"]})
    assert notes(noted) == [Note("warn", "Data set: 3 lines were corrected.")]


@pytest.mark.parametrize(
    ("state", "tone"), [("completed", "good"), ("failed", "bad"), ("cancelled", "warn"), ("running", "plain")]
)
def test_each_run_state_has_a_tone(facts, state, tone):
    assert state_of(updated(facts, {"state": state})) == (state, tone)


def test_a_run_whose_process_is_gone_is_interrupted(facts):
    assert state_of(updated(facts, {"state": "running"}, interrupted=True)) == ("interrupted", "bad")


@pytest.mark.parametrize(
    ("run", "status", "expected"),
    [
        ({"state": "failed", "error": "one\ntwo"}, {}, Note("bad", f"The run failed. {RESUME}", ("one", "two"))),
        ({"state": "failed", "error": None}, {}, Note("bad", f"The run failed. {RESUME}", ("no message",))),
        ({"state": "cancelled"}, {}, Note("warn", f"The run was stopped. {RESUME}")),
        (
            {"state": "running"},
            {"interrupted": True},
            Note("bad", f"The run's process was killed, or the machine went down. {RESUME}"),
        ),
    ],
)
def test_the_note_on_an_incomplete_run_says_why_and_how_to_resume(facts, run, status, expected):
    assert notes(updated(facts, run, **status)) == [expected]


def test_the_headline_compares_the_masks_with_the_baseline(facts):
    scored = with_masks(updated(facts, metrics={"centre_box": class_scores(0.424)}))
    compared = "3 pseudo masks, 50.0% mIoU: 7.6 points above the baseline, a box in the middle of the photo."
    assert headline(scored) == Note("good", f"{compared} {NOTHING_FOUND}")

    worse = with_masks(updated(facts, metrics={"centre_box": class_scores(0.6)}), masks=1)
    assert headline(worse).tone == "warn"
    assert headline(worse).text.startswith("1 pseudo mask, 50.0% mIoU: 10.0 points below the baseline")

    equal = with_masks(updated(facts, metrics={"centre_box": class_scores(0.5)}))
    assert headline(equal).tone == "warn"
    assert headline(equal).text.startswith("3 pseudo masks, 50.0% mIoU: no better than the baseline")


def test_the_headline_gives_the_score_of_the_segmenter(facts):
    unscored = replace(facts, status=replace(facts.status, metrics={"segmenter": class_scores(0.61, images=1)}))
    assert headline(with_masks(unscored, masks=2)) == Note(
        "plain",
        f"2 pseudo masks, not scored. {NOTHING_FOUND} "
        "The segmenter that was trained on these masks reaches 61.0% mIoU on 1 evaluation photo.",
    )


@pytest.mark.parametrize(("found", "counted"), [(1, "1 photo"), (22, "22 photos")])
def test_the_headline_counts_the_photos_to_check(facts, found, counted):
    text = headline(with_masks(facts, masks=200, to_check=found)).text
    assert text == f"200 pseudo masks, not scored. {counted} to check, found without truth."


def test_the_headline_of_a_run_without_masks_says_so(facts):
    assert headline(facts) == Note("warn", "This run has no pseudo masks.")


@pytest.mark.parametrize(
    ("until", "ranked", "files"),
    [
        ("prompts", "templates", "prompts.png and prompts.parquet"),
        ("prompt_scores", "templates", "prompts.png and prompts.parquet"),
        ("word_scores", "words", "synonyms.parquet or background_words.parquet"),
    ],
)
def test_the_report_of_a_ranking_says_what_it_ranks_and_where_the_result_is(facts, until, ranked, files):
    ranking = updated(facts, {"until": until})
    assert headline(ranking).text == f"This run ranks {ranked} and makes no pseudo masks."
    assert f"The ranking is in {files}, in the same folder as this report." in texts(ranking)


def test_failed_and_missing_shards_are_counted_by_stage(facts):
    rows = [*shards("masks", failed=[3], completed=[0, 1], pending=[2]), *shards("cams", failed=range(13))]
    numbers = ", ".join(map(str, range(12)))
    assert texts(updated(facts, shards=rows)) == [
        f"cams: 13 of 13 shards failed (shard numbers: {numbers}, …).",
        "masks: 1 of 4 shards failed (shard numbers: 3).",
        "masks: 1 of 4 shards not computed yet.",
    ]
    running = texts(updated(facts, {"state": "running"}, shards=shards("masks", pending=[2], running=[0])))
    assert running == [
        "The run has not ended. This report shows the progress so far. At its end, the run writes a new report."
    ]


def test_classes_without_a_photo_are_named(facts):
    assert texts(replace(facts, listed=replace(facts.listed, by_class={1: 2, 2: 0}))) == [
        "No photo is labelled with dog."
    ]


def test_random_weights_are_noted_as_giving_meaningless_results(tmp_path):
    settings = {**EVALUATION, "clip": {"pretrained": "random:0"}}
    ended = {"pseudo_mask": class_scores(0.5, images=2), "training": TRAINING}
    assert notes(plain_facts(tmp_path, photos=PHOTOS, settings=settings, metrics=ended)) == [
        Note("warn", "CLIP's weights are random (random:0): the results are meaningless.")
    ]


@pytest.mark.parametrize(
    ("lost", "text"),
    [
        (["a"], "1 photo could not be used in the training: a."),
        (
            [f"p{number}" for number in range(14)],
            f"14 photos could not be used in the training: {', '.join(f'p{number}' for number in range(12))} "
            "and 2 more photos.",
        ),
    ],
)
def test_photos_that_the_training_could_not_use_are_named(facts, lost, text):
    assert notes(updated(facts, metrics={"training": {"reads": {"unusable_photos": lost}}})) == [Note("warn", text)]


def test_the_note_on_an_evaluation_without_truth_says_what_to_set(facts):
    evaluated = replace(facts.segmenter, listed=PhotoCounts(3, 0, 0, {}, {}))
    assert texts(replace(facts, segmenter=evaluated)) == [
        "No photo of the evaluation has a true mask, so the segmenter is not scored. Set evaluation.truth."
    ]


def test_notes_are_sorted_from_worst_to_least(tmp_path):
    photos = photo("a", (1,), truth=False), photo("b", (), truth=False)
    facts = plain_facts(tmp_path, photos=photos, rejects=[reject("c")], metrics={}, settings=EVALUATION)
    stopped = updated(facts, {"until": "mask_scores"}, shards=shards("masks", failed=[0], pending=[1]))
    assert notes(stopped) == [
        Note("bad", "masks: 1 of 2 shards failed (shard numbers: 0)."),
        Note("warn", "masks: 1 of 2 shards not computed yet."),
        Note("warn", "1 photo without a result: the reasons are below."),
        Note(
            "plain",
            "The run was asked to stop after mask_scores, so these stages did not run: segmenter, segmenter_scores. "
            "To run them, start the run again without --until (in Python: until).",
        ),
        Note("plain", "Photos without labels: 1. They have no CAMs, and their masks are all background."),
        Note("plain", "No photo is labelled with dog."),
        Note("plain", "No photo has a true mask, so nothing is scored. Set dataset.truth to the folder of true masks."),
    ]
