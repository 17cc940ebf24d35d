"""Format the facts of a run as the HTML page of its report. Jinja escapes every text."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from clipes.tasks.report.facts import LISTED_REJECTS, RunFacts
from clipes.tasks.report.further_photos import further_files
from clipes.tasks.report.gallery.evaluation_gallery import EvaluationGallery
from clipes.tasks.report.gallery.forms import Layers
from clipes.tasks.report.gallery.photo_gallery import Gallery
from clipes.tasks.report.gallery.training_plots import training_plots
from clipes.tasks.report.notes import headline, notes, state_of
from clipes.tasks.report.scores import ranked_by, ranked_classes
from clipes.tasks.report.sections.to_check import to_check_section
from clipes.tasks.report.sections.truth import calibration_section, confusions_section, spread_section
from clipes.tasks.report.templates import export_command, names_of, page_environment
from clipes.tasks.report.training_wording import describe_training
from clipes.tasks.runs.ledger import SHARD_STATES
from clipes.tasks.stages.registry import STAGES, all_names
from clipes_core.confidence import PAPER_MU, share_at_least, shares_by_confidence
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.pseudo_masks import AUTO_TEMPLATE
from clipes_core.evaluation.scored import CENTRE_BOX, SCORED, Scored

CONFIDENCE_BINS = 20
SCRIPTS = ("shared", "png", "paint", "photo", "cards", "gallery", "stage", "viewer", "page")
TO_CHECK = {"to_check": "Photos to check, the most suspicious first (found without truth)"}
GROUPS = {
    "miou": {
        **TO_CHECK,
        "best": "Best pseudo masks, by the mIoU of each photo",
        "worst": "Worst pseudo masks, by the mIoU of each photo",
        "random": "Other photos (a reproducible random choice)",
    },
    "confidence": {
        **TO_CHECK,
        "best": "Most confident pseudo masks, by mean confidence (no mask is scored)",
        "worst": "Least confident pseudo masks, by mean confidence (no mask is scored)",
        "random": "Other photos (a reproducible random choice)",
    },
    "nothing": {"random": "A reproducible random choice of photos (there are no masks to rank)"},
}
EVALUATION_GROUPS = {
    "best": "Best predictions of the segmenter, by the mIoU of each photo",
    "worst": "Worst predictions of the segmenter, by the mIoU of each photo",
    "random": "Other predictions of the segmenter (a reproducible random choice)",
}


def page(facts: RunFacts) -> str:
    """Return the report as one HTML document that needs no network. It names the files of `further_files`."""
    state, tone = state_of(facts)
    gallery, segmenter = _gallery(facts), _segmenter(facts)  # before the notes, which name unreadable files
    script = _script()
    return (
        page_environment()
        .get_template("report.html.jinja")
        .render(
            run=facts.status.run,
            state=state,
            tone=tone,
            headline=headline(facts),
            notes=notes(facts),
            essentials=_essentials(facts),
            scores=_scores(facts),
            classes=ranked_classes(facts),
            ranked_by=ranked_by(facts),
            confidence=_confidence(facts),
            stages=_stages(facts),
            rejects=facts.rejects,
            listed_rejects=LISTED_REJECTS,
            gallery=gallery,
            further=further_files(facts),
            segmenter=segmenter,
            names=names_of(facts.vocabulary),
            export=export_command(facts),
            to_check=to_check_section(facts),
            calibration=calibration_section(facts),
            confusions=confusions_section(facts),
            spread=spread_section(facts),
            script=Markup(script),
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            config=yaml.safe_dump(facts.status.run["config"], sort_keys=False, allow_unicode=True),
        )
    )


def _script() -> str:
    """Return the scripts of the page, which share the names in one function."""
    texts = [Path(__file__).parent.joinpath("viewer", f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return f'"use strict";\n(() => {{\n{"".join(texts)}}})();\n'


def _essentials(facts: RunFacts) -> dict[str, str]:
    run, config = facts.status.run, facts.config
    words = f"{len(facts.vocabulary.background_words)}" if config.prompts.background else "none"
    crf = f"dense CRF, {config.crf.iter_max} iterations" if config.crf.enabled else "no CRF"
    return {
        "Photos": f"{run['photos']}" + (f", and {run['rejected']} rejected when listed" * bool(run["rejected"])),
        "Data set": _dataset(config.dataset),
        "Classes": _classes(config.dataset, len(facts.vocabulary.classes)),
        "CLIP": f"{config.clip.model}, {config.clip.pretrained}, {run['precision']}",
        "Model digest": run["model_digest"],
        **_template(facts),
        "Background words": words,
        "CAMs": f"{'softmax' if config.cam.softmax else 'no softmax'}, refinement: {config.cam.refine}",
        "Masks": f"{crf}, confidence from {config.confidence.source}",
        "clipes": f"{run['versions']['clipes']} on {run['host']}",
    }


def _classes(dataset: DatasetConfig, number: int) -> str:
    source = dataset.classes if isinstance(dataset.classes, str) else "a list in the config"
    return f"{source} ({number} classes)"


def _dataset(dataset: DatasetConfig) -> str:
    which = f"seed {dataset.seed}" if dataset.format == "scenes" else dataset.split
    return f"{dataset.format}, {which}"


def _template(facts: RunFacts) -> dict[str, str]:
    """Return the report's entry for the prompt template; empty if the run uses no prompt template.

    If the template is chosen automatically, the entry says that it is the best candidate, or that it is not chosen yet.
    """
    template = facts.status.run["template"]
    if template is None:
        return {"Template": "not chosen yet"} if facts.config.prompts.template == AUTO_TEMPLATE else {}
    text = template if isinstance(template, str) else " · ".join(template)
    how = " (the best of the candidates)" if facts.config.prompts.template == AUTO_TEMPLATE else ""
    return {"Template": text + how}


def _scores(facts: RunFacts) -> list[dict[str, Any]]:
    metrics = facts.status.metrics or {}
    return [
        {"scored": scored, "scores": metrics[scored.key], "gain": _gain(scored, metrics)}
        for scored in SCORED
        if scored.key in metrics
    ]


def _gain(scored: Scored, metrics: Mapping[str, Any]) -> float | None:
    """Return by how much the mIoU of a prediction exceeds the mIoU of the baseline.

    Returns:
        The difference. None if the prediction is the baseline itself, or if no baseline was scored on the same photos.
    """
    if scored.is_baseline or scored.on_evaluation or CENTRE_BOX.key not in metrics:
        return None
    gain: float = metrics[scored.key]["miou"] - metrics[CENTRE_BOX.key]["miou"]
    return gain


def _confidence(facts: RunFacts) -> dict[str, Any] | None:
    pixels = int(facts.confidence.sum())
    if not pixels:
        return None
    shares = shares_by_confidence(facts.confidence, CONFIDENCE_BINS).tolist()
    first = next(place for place, share in enumerate(shares) if share)
    bins = [{"low": place / CONFIDENCE_BINS, "share": share} for place, share in enumerate(shares)][first:]
    trained_on = share_at_least(facts.confidence, PAPER_MU)
    return {"bins": bins, "trained_on": trained_on, "mu": PAPER_MU, "pixels": pixels, "largest": max(shares)}


def _stages(facts: RunFacts) -> list[dict[str, Any]]:
    counts = (facts.status.metrics or {}).get("stages", {})
    lines = []
    for stage in all_names():
        states = [row["state"] for row in facts.status.shards if row["stage"] == stage]
        if states:
            shards = {state: states.count(state) for state in SHARD_STATES if state in states}
            unit = STAGES[stage].kind.unit if stage in STAGES else ""
            lines.append({"stage": stage, "shards": shards, "counts": counts.get(stage), "unit": unit})
    return lines


def _segmenter(facts: RunFacts) -> dict[str, Any] | None:
    """Return the content of the report's section about the segmenter; None if no segmenter was trained."""
    if not facts.segmenter.curve:
        return None
    picks = facts.segmenter.picks
    gallery = EvaluationGallery(facts, facts.segmenter.listed.chosen, Layers(facts.pictures))
    groups = [(group, title, list(gallery.cards(getattr(picks, group)))) for group, title in EVALUATION_GROUPS.items()]
    return {
        "curve": [*training_plots(facts.segmenter.curve, facts.pictures)],
        "facts": describe_training(facts),
        "gallery": [{"group": group, "title": title, "cards": cards} for group, title, cards in groups if cards],
    }


def _gallery(facts: RunFacts) -> list[dict[str, Any]]:
    picks, titles = facts.picks, GROUPS[facts.basis]
    gallery = Gallery(facts, [*picks.to_check, *picks.best, *picks.worst, *picks.random], Layers(facts.pictures))
    groups = [(group, title, list(gallery.cards(getattr(facts.picks, group)))) for group, title in titles.items()]
    return [{"group": group, "title": title, "cards": cards} for group, title, cards in groups if cards]
