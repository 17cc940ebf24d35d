"""The notes at the top of a report: how the run went, what is missing and why, and how to resume."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from clipes.tasks.report.facts import RunFacts
from clipes.tasks.stages.mask_scores import MASK_SCORES
from clipes.tasks.stages.registry import STAGES, all_names, ranking_of, run_names
from clipes_core.evaluation.scored import CENTRE_BOX, PSEUDO_MASK, SEGMENTER_MASK

RESUME = (
    "Finished work is kept. To resume, repeat the command that started the run, without --fresh. In Python, repeat the "
    "call of clipes.run, without fresh."
)
SHOWN_SHARDS = 12

Tone = Literal["bad", "warn", "plain", "good"]
TONES = get_args(Tone)


@dataclass(frozen=True)
class Note:
    """A remark about a run, shown at the top of its report.

    Attributes:
        tone: bad, warn, plain or good; the tone decides the colour of the note.
        text: one to three sentences.
        quoted: lines that are shown below the text, such as an error message.
    """

    tone: Tone
    text: str
    quoted: tuple[str, ...] = ()


def state_of(facts: RunFacts) -> tuple[str, Tone]:
    """Return the run's state as one word, and the state's tone: good, warn, bad or plain."""
    tones: dict[str, Tone] = {"completed": "good", "failed": "bad", "interrupted": "bad", "cancelled": "warn"}
    return facts.status.state, tones.get(facts.status.state, "plain")


def headline(facts: RunFacts) -> Note:
    """Return a note with the most important fact about a run."""
    metrics = facts.status.metrics or {}
    masks = _counted(facts.masks, "pseudo mask")
    if (ranking := ranking_of(facts.status.run["until"])) is not None:
        return Note("plain", f"This run ranks {ranking.ranks} and makes no pseudo masks.")
    if not facts.masks:
        return Note("warn", "This run has no pseudo masks.")
    checked, trained = _check_sentence(facts), _segmenter_sentence(metrics)
    if PSEUDO_MASK.key not in metrics or CENTRE_BOX.key not in metrics:
        return Note("plain", f"{masks}, not scored. {checked}{trained}")
    miou, floor = metrics[PSEUDO_MASK.key]["miou"], metrics[CENTRE_BOX.key]["miou"]
    points = round(100 * (miou - floor), 1)
    tone: Tone = "good" if points > 0 else "warn"
    place = f"{abs(points):.1f} points {'above' if points > 0 else 'below'}" if points else "no better than"
    compared = f"{place} the baseline, a box in the middle of the photo"
    return Note(tone, f"{masks}, {miou:.1%} mIoU: {compared}. {checked}{trained}")


def _check_sentence(facts: RunFacts) -> str:
    """Return a sentence that says how many photos a person should look at."""
    if not facts.to_check:
        return "clipes checked the masks without truth and found nothing suspicious, which does not prove them right."
    return f"{_counted(len(facts.to_check), 'photo')} to check, found without truth."


def _segmenter_sentence(metrics: Mapping[str, Any]) -> str:
    """Return a space and a sentence about the segmenter's score; "" if the segmenter was not scored."""
    if SEGMENTER_MASK.key not in metrics:
        return ""
    miou, images = metrics[SEGMENTER_MASK.key]["miou"], metrics[SEGMENTER_MASK.key]["images"]
    return (
        f" The segmenter that was trained on these masks reaches {miou:.1%} mIoU on "
        f"{_counted(images, 'evaluation photo')}."
    )


def notes(facts: RunFacts) -> list[Note]:
    """Return notes on everything that is missing or unusual. Notes with the tone bad come first."""
    found = [*_end(facts), *_shards(facts), *_photos(facts), *_scores(facts), *_segmenter(facts), *_unreadable(facts)]
    return sorted(found, key=lambda note: TONES.index(note.tone))


def _end(facts: RunFacts) -> Iterator[Note]:
    state, _ = state_of(facts)
    error, until = facts.status.run["error"], facts.status.run["until"]
    if state == "failed":
        yield Note("bad", f"The run failed. {RESUME}", tuple((error or "no message").splitlines()))
    elif state == "interrupted":
        yield Note(
            "bad",
            f"The run's process was killed, or the machine went down. {RESUME}",
        )
    elif state == "cancelled":
        yield Note("warn", f"The run was stopped. {RESUME}")
    elif state == "running":
        yield Note(
            "plain",
            "The run has not ended. This report shows the progress so far. At its end, the run writes a new report.",
        )
    if (ranking := ranking_of(until)) is not None:
        yield Note("plain", f"The ranking is in {ranking.files}, in the same folder as this report.")
    elif left := [name for name in _stages_after(until) if STAGES[name].enabled(facts.config)]:
        missing = f"The run was asked to stop after {until}, so these stages did not run: {', '.join(left)}."
        yield Note("plain", f"{missing} To run them, start the run again without --until (in Python: until).")


def _stages_after(until: str) -> tuple[str, ...]:
    """Return the names of the stages that come after the stage `until` in a complete run."""
    return run_names()[run_names().index(until) + 1 :]


def _shards(facts: RunFacts) -> Iterator[Note]:
    for stage in all_names():
        rows = [row for row in facts.status.shards if row["stage"] == stage]
        failed = [str(row["shard"]) for row in rows if row["state"] == "failed"]
        waiting = [row for row in rows if row["state"] in ("pending", "running", "not_run")]
        if failed:
            some = ", ".join(failed[:SHOWN_SHARDS]) + (", …" if len(failed) > SHOWN_SHARDS else "")
            yield Note(
                "bad", f"{stage}: {len(failed)} of {_counted(len(rows), 'shard')} failed (shard numbers: {some})."
            )
        if waiting and state_of(facts)[0] != "running":
            yield Note("warn", f"{stage}: {len(waiting)} of {_counted(len(rows), 'shard')} not computed yet.")


def _photos(facts: RunFacts) -> Iterator[Note]:
    listed, rejected = facts.listed, sum(facts.rejects.groups.values())
    if not listed.photos:
        yield Note("bad", "No photo could be used: all were rejected when they were listed. The reasons are below.")
    if rejected:
        yield Note("warn", f"{_counted(rejected, 'photo')} without a result: the reasons are below.")
    for note in facts.status.run.get("notes", ()):  # runs of earlier versions have none
        yield Note("warn", f"Data set: {note}.")
    if listed.unlabelled:
        yield Note(
            "plain",
            f"Photos without labels: {listed.unlabelled}. They have no CAMs, and their masks are all background.",
        )
    names = [entry.name for class_id, entry in enumerate(facts.vocabulary.classes, 1) if not listed.by_class[class_id]]
    if names and listed.photos:
        yield Note("plain", f"No photo is labelled with {_some(names, 'classes')}.")
    if facts.config.clip.pretrained.startswith("random:"):
        yield Note("warn", f"CLIP's weights are random ({facts.config.clip.pretrained}): the results are meaningless.")


def _scores(facts: RunFacts) -> Iterator[Note]:
    listed, metrics = facts.listed, facts.status.metrics or {}
    yield from (Note("warn", warning) for warning in metrics.get("warnings", ()))
    asked = all_names().index(facts.status.run["until"]) >= all_names().index(MASK_SCORES.name)
    if facts.status.metrics is None:
        yield Note("plain", "There are no scores or times yet: a run writes them at its end.")
    elif asked and not listed.with_truth and listed.photos:
        yield Note(
            "plain", "No photo has a true mask, so nothing is scored. Set dataset.truth to the folder of true masks."
        )
    elif PSEUDO_MASK.key in metrics and metrics[PSEUDO_MASK.key]["images"] < listed.photos:
        images = metrics[PSEUDO_MASK.key]["images"]
        yield Note(
            "plain",
            f"Scored photos: {images} of {listed.photos}. The others have no usable true mask, or no pseudo mask.",
        )


def _segmenter(facts: RunFacts) -> Iterator[Note]:
    metrics, until = facts.status.metrics or {}, facts.status.run["until"]
    if until in run_names() and not facts.config.train.enabled:
        yield Note("plain", "The run trains no segmenter, because train.enabled is false.")
    if "training" not in metrics:
        return
    unusable = metrics["training"]["reads"]["unusable_photos"]
    if unusable:
        text = f"{_counted(len(unusable), 'photo')} could not be used in the training: {_some(unusable, 'photos')}."
        yield Note("warn", text)
    if not facts.config.evaluation.photos:
        yield Note("plain", "The segmenter is not scored. Set evaluation.split to a split that it was not trained on.")
    elif until == run_names()[-1] and facts.segmenter.listed.photos and not facts.segmenter.listed.with_truth:
        text = "No photo of the evaluation has a true mask, so the segmenter is not scored. Set evaluation.truth."
        yield Note("plain", text)


def _unreadable(facts: RunFacts) -> Iterator[Note]:
    broken = facts.artifacts.unreadable
    if broken:
        text = f"This report lacks the content of {_counted(len(broken), 'file')} that could not be read."
        yield Note("bad", text, tuple(broken.values()))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _some(names: list[str], what: str) -> str:
    shown = ", ".join(names[:SHOWN_SHARDS])
    return shown if len(names) <= SHOWN_SHARDS else f"{shown} and {len(names) - SHOWN_SHARDS} more {what}"
