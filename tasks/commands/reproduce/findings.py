"""All checks of a reproduction: those of `clipes check`, and a comparison of its inputs with the paper's."""

from collections.abc import Iterable, Iterator

from clipes.tasks.commands.check.checks import check_config
from clipes.tasks.commands.finding import Finding
from clipes.tasks.commands.reproduce.deviations import (
    PAPER,
    check_overlap,
    check_settings,
    check_split_size,
    check_true_masks,
    check_weights,
)
from clipes.tasks.commands.reproduce.paper_config import PaperRuns
from clipes.tasks.runs.inputs.photos import list_evaluation, list_photos


def check_reproduction(runs: PaperRuns) -> Iterator[Finding]:
    """Check whether runs can start, and how their photos, weights and settings differ from those of the paper.

    Yields:
        The findings of `check_config`. If all of them work, the comparison with the paper follows.

    Raises:
        UsageError: the photos or the weights have been removed since `check_config` looked at them.
        TransientError: a server does not answer.
    """
    works = True
    for finding in check_config(runs.config):
        works &= finding.works is not False
        yield finding
    if works:
        yield from _differences(runs)


def deviations(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return the warnings among findings that state a difference from the paper, in their order."""
    return tuple(dict.fromkeys(each.detail for each in findings if each.works is None and each.what == PAPER))


def _differences(runs: PaperRuns) -> Iterator[Finding]:
    """Yield the comparison with the paper, the most important differences first: weights, photos, settings."""
    config, is_voc = runs.config, runs.config.dataset.format == "voc"
    yield check_weights(config.clip)
    listing = list_photos(config)
    yield check_split_size(runs.data, config.dataset.split, listing)
    if config.train.enabled:
        evaluation = list_evaluation(config)
        yield check_split_size(runs.data, str(config.evaluation.split), evaluation)
        yield from check_true_masks(evaluation, is_voc, "evaluation")
        yield from check_overlap(listing, evaluation)
    else:
        yield from check_true_masks(listing, is_voc)
    yield from check_settings(config, runs.paper)
