"""Show the results of a run in the Prefect UI: paths of its files, scores of its classes, a few of its photos."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from clipes.tasks.report.facts import RunFacts
from clipes.tasks.report.gallery.cards import Card
from clipes.tasks.report.gallery.evaluation_gallery import EvaluationGallery
from clipes.tasks.report.gallery.forms import Drawings
from clipes.tasks.report.gallery.photo_gallery import Gallery
from clipes.tasks.report.gallery.training_plots import training_plots
from clipes.tasks.report.html_page import EVALUATION_GROUPS, GROUPS
from clipes.tasks.report.notes import headline, notes, state_of
from clipes.tasks.report.scores import ranked_by, ranked_classes
from clipes.tasks.report.training_wording import describe_training
from clipes.tasks.ui.markdown import code, link, plain
from clipes.tasks.ui.parameter_names import in_own_words
from clipes.tasks.ui.publishing import ServerWatch, artifact_key, in_flow_run
from clipes.tasks.ui.report_link import link_report
from clipes_core.evaluation.scored import CENTRE_BOX, PSEUDO_MASK, SCORED, SEGMENTER_MASK

SHOWN_PER_GROUP, PREDICTIONS_PER_GROUP = 2, 1
PICTURES_IN_A_ROW = 3
LARGEST_GALLERY = 600_000  # characters; the UI loads the whole gallery each time it lists Prefect artifacts
REPORT = "The result of the run, and the paths of its files."
SCORES = (
    "IoU of each class in [0, 1], the best class first. The column centre_box holds the baseline. The scores in the "
    "column segmenter are computed on the evaluation photos, all other scores on the photos of the data set. The "
    "column photos holds the number of photos with this label or, in the first row, the number of scored photos."
)
TRAINING = "The training of the segmenter."
PICTURES = "A few photos of the run; `report.html` shows more."


def show_run(facts: RunFacts, report_uri: str) -> None:
    """Show the results of an ended run in the Prefect UI; do nothing if no Prefect flow is being run.

    Args:
        facts: facts of the run.
        report_uri: URI of report.html.
    """
    if not in_flow_run():
        return
    name = facts.config.name
    with ServerWatch("report").tolerate_failures():
        page = report_page(facts, report_uri, link_report(report_uri))
        create_markdown_artifact(page, artifact_key(name, "report"), REPORT)
        if scores := score_rows(facts):
            create_table_artifact(scores, artifact_key(name, "class-scores"), SCORES)
        if training := training_page(facts):
            create_markdown_artifact(training, artifact_key(name, "training"), TRAINING)
        if pictures := gallery_page(facts):
            create_markdown_artifact(pictures, artifact_key(name, "gallery"), PICTURES)


def score_rows(facts: RunFacts) -> list[dict[str, Any]]:
    """Return a row with the mIoU, then a row with the IoU of each class; empty if nothing was scored."""
    metrics, first = facts.status.metrics or {}, ranked_by(facts)
    scored = [each.key for each in SCORED if each.key in metrics]
    if first is None:
        return []
    mean = {"class": "mIoU", **{what: round(metrics[what]["miou"], 4) for what in scored}}
    rows = [
        {"class": line.name, **{what: _rounded(line.others[what]) for what in scored}, "photos": line.photos}
        for line in ranked_classes(facts)
    ]
    return [{**mean, "photos": metrics[first]["images"]}, *rows]


def report_page(facts: RunFacts, report_uri: str, path: str | None = None) -> str:
    """Return a page with the headline, the notes, counts of the photos without a result, and paths of files.

    Args:
        facts: facts of the run.
        report_uri: URI of report.html.
        path: path of the report on the Prefect server; None if the server does not show it.
    """
    state, _ = state_of(facts)
    note_lines = [
        line
        for note in notes(facts)
        for line in (
            f"- {plain(in_own_words(note.text))}",
            *(f"    - {code(in_own_words(quoted))}" for quoted in note.quoted),
        )
    ]
    rejects = [f"- {count} {plain(kind)} in {plain(stage)}" for (stage, kind), count in facts.rejects.groups.items()]
    uris = {"report": report_uri, "files of the run": report_uri.rpartition("/")[0], "store": facts.config.store}
    places = ["| | |", "| --- | --- |", *(f"| {what} | {link(uri)} |" for what, uri in uris.items())]
    parts = (
        [f"**{state}**: {plain(headline(facts).text)}"],
        [] if path is None else [f"[Open the report]({path})"],
        note_lines,
        ["**Photos without a result**", "", *rejects] if rejects else [],
        places,
    )
    return "\n\n".join("\n".join(part) for part in parts if part)


def training_page(facts: RunFacts) -> str:
    """Return a page with the plots and the facts of the training; empty if no segmenter was trained."""
    if not facts.segmenter.curve:
        return ""
    curve = [(picture.title, picture.uri) for picture in training_plots(facts.segmenter.curve, facts.pictures)]
    table = [f"| {plain(what)} | {plain(value)} |" for what, value in describe_training(facts).items()]
    shown = [_picture_table([plot]) for plot in curve]  # one plot per row, because the UI cuts off a second one
    return "\n\n".join([*shown, "\n".join(["| | |", "| --- | --- |", *table])])


def gallery_page(facts: RunFacts) -> str:
    """Return a page with the first photos of each group in the report's galleries; empty if there are no photos.

    If a photo would make the page longer than `LARGEST_GALLERY`, the page ends before this photo.
    """
    parts, size = [], 0
    for title, card in _shown_cards(facts):
        part = f"{title}{_card(facts, card)}"
        size += len(part)
        if size > LARGEST_GALLERY:
            break
        parts.append(part)
    return "\n\n".join(parts)


def _shown_cards(facts: RunFacts) -> Iterator[tuple[str, Card]]:
    """Yield (heading, card). The segmenter's few cards come first, because the end of the page may be cut off."""
    picks = facts.segmenter.picks
    predictions = {title: getattr(picks, group)[:PREDICTIONS_PER_GROUP] for group, title in EVALUATION_GROUPS.items()}
    form = Drawings(facts.pictures)
    evaluation = EvaluationGallery(facts, {name for names in predictions.values() for name in names}, form)
    yield from _headed(predictions, evaluation)
    groups = {title: getattr(facts.picks, group)[:SHOWN_PER_GROUP] for group, title in GROUPS[facts.basis].items()}
    wanted = {image_id for image_ids in groups.values() for image_id in image_ids}
    yield from _headed(groups, Gallery(facts, wanted, form))


def _headed(groups: Mapping[str, Sequence[str]], gallery: Gallery | EvaluationGallery) -> Iterator[tuple[str, Card]]:
    """Yield the cards of each group; the first card of a group has the group's title as heading."""
    for title, image_ids in groups.items():
        for place, card in enumerate(gallery.cards(image_ids)):
            yield ("" if place else f"### {title}\n\n"), card


def _card(facts: RunFacts, card: Card) -> str:
    names = [entry.name for entry in facts.vocabulary.classes]
    pictures = [(picture.title, picture.uri) for picture in card.pictures]
    for cams in card.cams[:1]:
        pictures += [(f"{picture.title}: {names[cams.class_id - 1]}", picture.uri) for picture in cams.pictures]
    labels = ", ".join(names[class_id - 1] for class_id in card.class_ids) or "no labels"
    miou = _mious(card.mious)
    sure = "" if card.sure is None else f" · {card.sure:.0%} confident pixels"
    texts = [f"**{plain(card.image_id)}** · {plain(labels)}{miou}{sure}", *map(plain, card.notes)]
    return "\n\n".join([*texts, _picture_table(pictures)])


def _mious(mious: Mapping[str, float]) -> str:
    if SEGMENTER_MASK.key in mious:
        return f" · mIoU {mious[SEGMENTER_MASK.key]:.2f}"
    return f" · mIoU {mious[PSEUDO_MASK.key]:.2f} (baseline {mious[CENTRE_BOX.key]:.2f})" if mious else ""


def _picture_table(pictures: Sequence[tuple[str, str]]) -> str:
    """Return a Markdown table of pictures and their titles. A row has at most `PICTURES_IN_A_ROW` pictures."""
    rows = []
    for first in range(0, len(pictures), PICTURES_IN_A_ROW):
        shown = pictures[first : first + PICTURES_IN_A_ROW]
        rows.append(" | ".join(f"**{plain(title)}**" for title, _ in shown))
        rows.append(" | ".join(f"![{plain(title)}]({uri})" for title, uri in shown))
    rows.insert(1, "|".join([" --- "] * min(PICTURES_IN_A_ROW, len(pictures))))
    return "\n".join(f"| {row} |" for row in rows)


def _rounded(iou: float | None) -> float | None:
    return None if iou is None else round(iou, 4)
