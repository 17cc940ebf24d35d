"""The command `reproduce`: choose the parts of a reproduction, run them, and compare their scores with the paper's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clipes.tasks.ablation.result import AblationResult
from clipes.tasks.commands.finding import Finding
from clipes.tasks.commands.reproduce.comparison import Reproduction, compare
from clipes.tasks.commands.reproduce.findings import check_reproduction, deviations
from clipes.tasks.commands.reproduce.paper_config import PaperRuns, paper_runs
from clipes.tasks.execution.runner import check_runner, runner_for
from clipes.tasks.machine.prefect_server import load_prefect
from clipes.tasks.machine.terminal import announce
from clipes_core.config.run import RunConfig

NO_GPU = (
    "the segmenter: this machine has no GPU, and training DeepLabV2 on ResNet-101 takes days on processor cores; "
    "--segmenter trains it nevertheless"
)
NOT_WANTED = "the segmenter: --no-segmenter leaves it out"
CANNOT_START = "the segmenter: its check found problems (see above); correct them, and repeat the command"

Show = Callable[[PaperRuns, Iterator[Finding]], bool]


@dataclass(frozen=True)
class Parts:
    """The parts of a reproduction that can start.

    Attributes:
        runs: the runs of each part, in the order in which the parts start.
        findings: what the checks of all parts found.
        left_out: the parts that do not run, with the reason.
    """

    runs: tuple[PaperRuns, ...]
    findings: tuple[Finding, ...]
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
    findings: list[Finding] = []

    def can_start(runs: PaperRuns) -> bool:
        return show(runs, _kept(check_reproduction(runs), findings))

    if not can_start(masks):
        return None
    if segmenter is False or (segmenter is None and not _has_gpus(masks.config)):
        return Parts((masks,), tuple(findings), (NO_GPU if segmenter is None else NOT_WANTED,))
    trained = paper_runs(data, "segmenters", overrides, given)
    if can_start(trained):
        return Parts((masks, trained), tuple(findings))
    return None if segmenter else Parts((masks,), tuple(findings), (CANNOT_START,))


def _kept(found: Iterator[Finding], findings: list[Finding]) -> Iterator[Finding]:
    """Yield findings, and add them to a list."""
    for finding in found:
        findings.append(finding)
        yield finding


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

        return [run(runs) for runs in parts.runs]


def compare_parts(parts: Parts, results: Sequence[AblationResult]) -> Reproduction:
    """Compare the scores of the parts with the paper's numbers."""
    found = deviations(parts.findings)
    compared = (compare(result, runs.config, found) for runs, result in zip(parts.runs, results, strict=True))
    return Reproduction(
        data=parts.runs[0].data,
        photos=tuple(result.data for result in results),
        deviations=found,
        comparisons=tuple(row for rows in compared for row in rows),
        left_out=parts.left_out,
    )
