"""The result of a run in one line: the message of its final state in the Prefect UI."""

from collections.abc import Iterator

from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.record.recorder import RunSummary
from clipes.tasks.runs.words.record import FINDINGS
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.stages.prompts import PROMPTS
from clipes_core.evaluation.scored import PSEUDO_MASK, SEGMENTER_MASK

SCORES = {PSEUDO_MASK.key: "mIoU", SEGMENTER_MASK.key: SEGMENTER_MASK.key}  # key in metrics.json -> its name


def result_message(summary: RunSummary, ledger: Ledger) -> str:
    """Return the result of a completed run, such as "200 masks, mIoU 47.8 %, segmenter 45.9 %; 22 to check".

    Args:
        summary: outcome of the run.
        ledger: ledger of the run.
    """
    result = ", ".join((*_masks(ledger), *_scores(summary), *_template(summary), *_words(summary))) or "no masks"
    return f"{result}{_to_check(summary)}"


def _masks(ledger: Ledger) -> Iterator[str]:
    """Yield the number of pseudo masks, unless the run has no stage that makes them."""
    if records := ledger.records(MASKS.name):
        made_from = {MASKS.name, *(stage.name for stage in MASKS.photo_upstream)}
        failed = {reject.image_id for reject in ledger.rejects() if reject.stage in made_from}
        masks = sum(record.images for record in records) - len(failed)
        yield "1 mask" if masks == 1 else f"{masks} masks"


def _scores(summary: RunSummary) -> Iterator[str]:
    for key, name in SCORES.items():
        if key in summary.metrics:
            yield f"{name} {100 * summary.metrics[key]['miou']:.1f} %"


def _template(summary: RunSummary) -> Iterator[str]:
    """Yield the best template, if the run has ranked templates."""
    if PROMPTS.name in summary.metrics:
        best = summary.metrics[PROMPTS.name]
        yield f"best of {best['templates']} templates: {best['template']}"


def _words(summary: RunSummary) -> Iterator[str]:
    """Yield the number of words, if the run has ranked words."""
    if FINDINGS in summary.metrics:
        yield f"{summary.metrics[FINDINGS]['words']} words ranked"


def _to_check(summary: RunSummary) -> str:
    """Return how many photos a person should check; empty if the run has not counted them."""
    return "" if summary.to_check is None else f"; {summary.to_check} to check"
