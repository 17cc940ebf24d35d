"""What a report says first: how the run went, what is missing, why, and how to go on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from clipes.tasks.report.facts import RunFacts
from clipes.tasks.stages.mask_scores import MASK_SCORES
from clipes.tasks.stages.registry import STAGES, all_names, run_names
from clipes_core.confidence import PAPER_MU, share_from

RESUME = "What is done is kept: run the same clipes run command again to go on from there."
SHOWN_SHARDS = 12

Tone = Literal["bad", "warn", "plain", "good"]
TONES = get_args(Tone)


@dataclass(frozen=True)
class Note:
    """A sentence or two, and lines that are quoted beneath it."""

    tone: Tone
    text: str
    quoted: tuple[str, ...] = ()


def state_of(facts: RunFacts) -> tuple[str, Tone]:
    """The run's state in a word, and how good that is."""
    if facts.status.interrupted:
        return "interrupted", "bad"
    state = facts.status.run["state"]
    tones: dict[str, Tone] = {"completed": "good", "failed": "bad", "cancelled": "warn"}
    return state, tones.get(state, "plain")


def headline(facts: RunFacts) -> Note:
    """The one thing to know of a run."""
    metrics = facts.status.metrics or {}
    masks = _counted(facts.masks, "pseudo mask")
    if facts.status.run["until"] not in run_names():
        return Note("plain", "This run ranked templates; it makes no pseudo masks.")
    if not facts.masks:
        return Note("warn", "This run has made no pseudo mask.")
    sure = f"{share_from(facts.confidence, PAPER_MU):.0%} of their pixels are at least {PAPER_MU} sure."
    trained = _reached(metrics)
    if "pseudo_mask" not in metrics or "centre_box" not in metrics:
        return Note("plain", f"{masks}, without a score. {sure}{trained}")
    miou, floor = metrics["pseudo_mask"]["miou"], metrics["centre_box"]["miou"]
    points = 100 * (miou - floor)
    reached = f"{masks}, {miou:.1%} mIoU: {abs(points):.1f} points"
    if points > 0:
        return Note("good", f"{reached} above what a box in the middle of the photo reaches. {sure}{trained}")
    return Note("warn", f"{reached} below what a box in the middle of the photo reaches. {sure}{trained}")


def _reached(metrics: Mapping[str, Any]) -> str:
    """A sentence on the segmenter, where it was scored."""
    if "segmenter" not in metrics:
        return ""
    miou, images = metrics["segmenter"]["miou"], metrics["segmenter"]["images"]
    return f" The segmenter trained on them reaches {miou:.1%} on {_counted(images, 'photo')} of the evaluation."


def notes(facts: RunFacts) -> list[Note]:
    """What is missing or odd, the worst first."""
    found = [*_end(facts), *_shards(facts), *_photos(facts), *_scores(facts), *_segmenter(facts), *_unreadable(facts)]
    return sorted(found, key=lambda note: TONES.index(note.tone))


def _end(facts: RunFacts) -> Iterator[Note]:
    state, _ = state_of(facts)
    error, until = facts.status.run["error"], facts.status.run["until"]
    if state == "failed":
        yield Note("bad", f"The run failed. {RESUME}", tuple((error or "without a message").splitlines()))
    elif state == "interrupted":
        yield Note("bad", f"The run's process ended without saying why: it was killed, or the machine went. {RESUME}")
    elif state == "cancelled":
        yield Note("warn", f"The run was stopped. {RESUME}")
    elif state == "running":
        yield Note("plain", "The run is going on: this report is how far it was. The run's end writes it again.")
    if until not in run_names():
        yield Note("plain", "It ranked templates, see prompts.png and prompts.parquet beside this report.")
    elif left := [name for name in _stages_after(until) if STAGES[name].enabled(facts.config)]:
        yield Note(
            "plain", f"It was asked to end after {until}, so it has no {', no '.join(left)}: run without --until."
        )


def _stages_after(until: str) -> tuple[str, ...]:
    """Return the stages of a whole run that come after one of them."""
    return run_names()[run_names().index(until) + 1 :]


def _shards(facts: RunFacts) -> Iterator[Note]:
    for stage in all_names():
        rows = [row for row in facts.status.shards if row["stage"] == stage]
        failed = [str(row["shard"]) for row in rows if row["state"] == "failed"]
        waiting = [row for row in rows if row["state"] in ("pending", "running")]
        if failed:
            some = ", ".join(failed[:SHOWN_SHARDS]) + (", …" if len(failed) > SHOWN_SHARDS else "")
            yield Note("bad", f"{stage}: {len(failed)} of {_counted(len(rows), 'shard')} failed ({some}).")
        if waiting and state_of(facts)[0] != "running":
            yield Note("warn", f"{stage}: {len(waiting)} of {_counted(len(rows), 'shard')} not made.")


def _photos(facts: RunFacts) -> Iterator[Note]:
    listed, rejected = facts.listed, sum(facts.rejects.groups.values())
    if not listed.photos:
        yield Note("bad", "No photo was left to work on: all were rejected when they were listed.")
    if rejected:
        yield Note("warn", f"{_counted(rejected, 'photo')} without result: the reasons are below.")
    if listed.unlabelled:
        yield Note("plain", f"{_counted(listed.unlabelled, 'photo')} without labels: no CAMs, masks all background.")
    names = [entry.name for class_id, entry in enumerate(facts.vocabulary.classes, 1) if not listed.by_class[class_id]]
    if names and listed.photos:
        yield Note("plain", f"No photo is labelled with {_some(names, 'classes')}.")
    if facts.config.clip.pretrained.startswith("random:"):
        yield Note("warn", f"CLIP's weights are {facts.config.clip.pretrained}: nothing here means anything.")


def _scores(facts: RunFacts) -> Iterator[Note]:
    listed, metrics = facts.listed, facts.status.metrics or {}
    asked = all_names().index(facts.status.run["until"]) >= all_names().index(MASK_SCORES.name)
    if facts.status.metrics is None:
        yield Note("plain", "Scores and times are written at a run's end, which this one has not come to.")
    elif asked and not listed.with_truth and listed.photos:
        yield Note("plain", "No photo has a true mask, so nothing is scored: name their folder in dataset.truth.")
    elif "pseudo_mask" in metrics and metrics["pseudo_mask"]["images"] < listed.photos:
        images = metrics["pseudo_mask"]["images"]
        yield Note("plain", f"The scores are over {_counted(images, 'photo')} with a truth, of {listed.photos}.")


def _segmenter(facts: RunFacts) -> Iterator[Note]:
    metrics, until = facts.status.metrics or {}, facts.status.run["until"]
    if until in run_names() and not facts.config.train.enabled:
        yield Note("plain", "It trains no segmenter: train.enabled is false.")
    if "training" not in metrics:
        return
    unusable = metrics["training"]["reads"]["unusable_photos"]
    if unusable:
        text = f"{_counted(len(unusable), 'photo')} could not be used in the training: {_some(unusable, 'photos')}."
        yield Note("warn", text)
    if not facts.config.evaluation.photos:
        yield Note("plain", "The segmenter is not scored: name photos that it was not trained on, in evaluation.split.")
    elif until == run_names()[-1] and facts.segmenter.listed.photos and not facts.segmenter.listed.with_truth:
        text = "No photo of the evaluation has a true mask, so the segmenter is not scored: set evaluation.truth."
        yield Note("plain", text)


def _unreadable(facts: RunFacts) -> Iterator[Note]:
    broken = facts.artifacts.unreadable
    if broken:
        text = f"{_counted(len(broken), 'artifact')} could not be read, and what they hold is missing here."
        yield Note("bad", text, tuple(broken.values()))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _some(names: list[str], what: str) -> str:
    shown = ", ".join(names[:SHOWN_SHARDS])
    return shown if len(names) <= SHOWN_SHARDS else f"{shown} and {len(names) - SHOWN_SHARDS} more {what}"
