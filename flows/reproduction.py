"""The command `reproduce`: choose the parts of a reproduction, run them, and compare their scores with the paper's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipes.tasks.ablation.result import AblationResult
from clipes.tasks.commands.finding import Finding
from clipes.tasks.commands.reproduce.comparison import MeasuredPart, Reproduction, compare
from clipes.tasks.commands.reproduce.findings import check_reproduction, deviations
from clipes.tasks.commands.reproduce.paper_config import PaperRuns, paper_runs
from clipes.tasks.execution.runner import check_runner, runner_for
from clipes.tasks.machine.prefect_server.settings import load_prefect
from clipes.tasks.machine.terminal import announce
from clipes_core.config.run import RunConfig

NO_GPU = "the segmenter: this machine has no GPU{days}; --segmenter trains it nevertheless"
DAYS = ", and training DeepLabV2 on ResNet-101 takes days on processor cores"
NOT_WANTED = "the segmenter: --no-segmenter leaves it out"
CANNOT_START = "the segmenter: its check found problems (see above); correct them, and repeat the command"

Show = Callable[[PaperRuns, Iterator[Finding]], bool]


@dataclass(frozen=True)
class Part:
    """A part of a reproduction.

    Attributes:
        runs: the runs of the part.
        deviations: how their weights, photos and settings differ from the paper's.
    """

    runs: PaperRuns
    deviations: tuple[str, ...]


@dataclass(frozen=True)
class Parts:
    """The parts of a reproduction.

    Attributes:
        chosen: the parts that can start, in the order in which they start.
        left_out: the parts that do not run, with the reason.
    """

    chosen: tuple[Part, ...]
    left_out: tuple[str, ...] = ()


def choose_parts(
    data: str, overrides: Sequence[str], given: Mapping[str, Any], segmenter: bool | None, show: Show
) -> Parts | None:
    """Check the parts of a reproduction, and return those that can start.

    Args:
        data: voc12 or coco14.
        overrides: the user's settings, as for `paper_runs`.
        given: values that belong to the machine, as for `paper_runs`.
        segmenter: whether a segmenter is trained; None to train one only on a machine with a GPU.
        show: function that shows the findings about a part as soon as they are known, and returns whether its runs can
            start.

    Returns:
        The parts; None if the pseudo masks, or a segmenter that was asked for, cannot start.

    Raises:
        UsageError: a setting is invalid.
    """
    masks = paper_runs(data, "pseudo-masks", overrides, given)
    check_runner(masks.config)
    seen: set[Finding] = set()
    first = _checked(masks, show, seen)
    if first is None:
        return None
    if segmenter is False or (segmenter is None and not _has_gpus(masks.config)):
        return Parts((first,), (NOT_WANTED if segmenter is False else _no_gpu(masks),))
    second = _checked(paper_runs(data, "segmenters", overrides, given), show, seen)
    if second is not None:
        return Parts((first, second))
    return None if segmenter else Parts((first,), (CANNOT_START,))


def _checked(runs: PaperRuns, show: Show, seen: set[Finding]) -> Part | None:
    """Check a part, and show its findings, except those that were shown for an earlier part.

    Args:
        runs: runs of the part.
        show: function that shows the findings.
        seen: the findings that were shown for earlier parts; those of this part are added.

    Returns:
        The part; None if its runs cannot start.
    """
    findings: list[Finding] = []

    def new() -> Iterator[Finding]:
        for finding in check_reproduction(runs):
            findings.append(finding)
            if finding not in seen:
                yield finding

    can_start = show(runs, new())
    seen.update(findings)
    return Part(runs, deviations(findings)) if can_start else None


def _no_gpu(runs: PaperRuns) -> str:
    """Return why no segmenter is trained on a machine without a GPU."""
    return NO_GPU.format(days=DAYS if runs.config.train.mmseg_config == runs.paper.train.mmseg_config else "")


def _has_gpus(config: RunConfig) -> bool:
    with runner_for(config, writes=False) as runner:
        return runner.gpus() > 0


def run_parts(parts: Parts) -> list[AblationResult]:
    """Run the parts of a reproduction one after the other, and return the result of each."""
    load_prefect()
    from clipes.flows.server import provide_server

    with provide_server() as server:  # The server starts while the pipeline is imported.
        with announce("loading the pipeline"):
            from clipes.flows.ablation.flow import run_ablation

        def run(runs: PaperRuns) -> AblationResult:
            return server.record(lambda _: run_ablation(runs.config, runs.grid, (), fresh=False))

        return [run(part.runs) for part in parts.chosen]


def compare_parts(parts: Parts, results: Sequence[AblationResult]) -> Reproduction:
    """Compare the scores of the parts with the paper's numbers."""
    measured = [
        MeasuredPart(result, part.runs.config, part.deviations)
        for part, result in zip(parts.chosen, results, strict=True)
    ]
    return compare(parts.chosen[0].runs.data, measured, parts.left_out)
