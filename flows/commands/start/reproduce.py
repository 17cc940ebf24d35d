"""The command `clipes reproduce`: repeat the measurements of the paper, and compare the results with its numbers."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from clipes.flows.commands.options import Set, StoreOrConfigs, location_option
from clipes.flows.exit_codes import BAD_USAGE, explain_resume
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.prefect_server.settings import load_prefect
from clipes.tasks.machine.terminal import announce
from clipes_core.errors import StageError

if TYPE_CHECKING:
    from clipes.flows.estimation import Estimate
    from clipes.tasks.ablation.result import AblationResult
    from clipes.tasks.commands.finding import Finding
    from clipes.tasks.commands.reproduce.paper_config import PaperRuns

SAMPLE = 24  # photos that the forecast measures
NO_GPU = (
    "the segmenter: this machine has no GPU, and training DeepLabV2 on ResNet-101 takes days on processor cores; "
    "--segmenter trains it nevertheless"
)
NOT_WANTED = "the segmenter: --no-segmenter leaves it out"
CANNOT_START = "the segmenter: its check found problems (see above); correct them, and repeat the command"


def reproduce(
    data: Annotated[str, typer.Argument(metavar="DATA", help="The paper's data set: voc12 or coco14.")],
    root: Annotated[str, location_option("--root", "DIR", "Folder of the data set, such as VOCdevkit/VOC2012.")],
    overrides: Set = None,
    store: StoreOrConfigs = None,
    clip: Annotated[
        str | None,
        location_option("--clip", "WEIGHTS", "Weights of CLIP: a file, a URI or a name; default: those of the paper."),
    ] = None,
    segmenter: Annotated[
        bool | None,
        typer.Option(
            "--segmenter/--no-segmenter",
            help="Also train a segmenter on the pseudo masks, and score it; default: only on a machine with a GPU.",
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Check the data, show what the runs would reuse and compute, and exit.")
    ] = False,
) -> None:
    """Repeat the measurements of the paper, and compare the results with its numbers. To resume, repeat the command."""
    from clipes.tasks.commands.reproduce.paper_config import check_data_name, paper_runs

    check_data_name(data)
    given = {"dataset": {"root": root}, "clip": {"pretrained": clip}, "store": store}
    given = {key: value for key, value in given.items() if value not in (None, {"pretrained": None})}
    masks = paper_runs(data, "pseudo-masks", overrides or (), given)
    from clipes.tasks.execution.runner import check_runner

    check_runner(masks.config)
    findings: list[Finding] = []
    if not _check(masks, findings):
        raise typer.Exit(BAD_USAGE)
    if plan:
        _print_plan(masks)
        return
    parts, left_out = [masks], list[str]()
    machines = _estimate(masks).machines
    if segmenter is False or (segmenter is None and not machines.gpus):
        left_out.append(NO_GPU if segmenter is None else NOT_WANTED)
    else:
        trained = paper_runs(data, "segmenters", overrides or (), given)
        if _check(trained, findings):
            _estimate(trained)
            parts.append(trained)
        elif segmenter:
            raise typer.Exit(BAD_USAGE)
        else:
            left_out.append(CANNOT_START)
    for reason in left_out:
        out.print(f"\nnot part of this reproduction: {reason}")
    _report(parts, _run(parts), findings, left_out)


def _check(runs: "PaperRuns", findings: "list[Finding]") -> bool:
    """Print the findings about runs, and add them to a list; return whether the runs can start."""
    from clipes.flows.terminal.check_lines import print_check
    from clipes.tasks.commands.reproduce.findings import check_reproduction

    out.print(f"{runs.grid.title}\n")

    def kept() -> "Iterator[Finding]":
        for finding in check_reproduction(runs):
            findings.append(finding)
            yield finding

    return print_check(out, kept())


def _print_plan(runs: "PaperRuns") -> None:
    from clipes.flows.ablation.plan import plan_ablation
    from clipes.flows.terminal.ablation_plan import print_ablation_plan
    from clipes.tasks.ablation.variant_runs import variant_runs, with_known_figures

    planned = variant_runs(runs.config, runs.grid)
    print_ablation_plan(out, plan_ablation(planned, with_known_figures(runs.grid, planned[0].config).last_stage))


def _estimate(runs: "PaperRuns") -> "Estimate":
    """Measure a sample unless an earlier call has, and print the forecast of the runs."""
    from rich.filesize import decimal

    from clipes.flows.estimation import Request, make_estimate
    from clipes.flows.terminal.estimate_table import print_estimate
    from clipes.tasks.ui.durations import rough_duration

    out.print(f"\n{runs.grid.title}: forecast of each run\n")
    estimate = make_estimate(runs.config, Request(SAMPLE))
    print_estimate(out, estimate)
    count, forecast = len(runs.grid.all_variants), estimate.forecast
    labels = ", ".join(variant.label for variant in runs.grid.all_variants)
    out.print(
        f"{count} runs ({labels}): at most {rough_duration(count * forecast.wall_seconds)} and "
        f"{decimal(round(count * forecast.stored_bytes))}, less if the store has some of their artifacts"
    )
    return estimate


def _run(parts: "Sequence[PaperRuns]") -> "list[AblationResult]":
    load_prefect()
    from clipes.flows.server import provide_server

    with provide_server() as server:  # The server starts while the pipeline is imported.
        with announce("loading the pipeline"):
            from clipes.flows.ablation.flow import ablation
            from clipes.flows.flow_runs import keep_sigterm_handler

        def run(runs: "PaperRuns") -> "AblationResult":
            return server.record(lambda _: keep_sigterm_handler(ablation)(runs.config, runs.grid))

        with explain_resume():
            return [run(runs) for runs in parts]


def _report(
    parts: "Sequence[PaperRuns]",
    results: "Sequence[AblationResult]",
    findings: "Iterable[Finding]",
    left_out: Sequence[str],
) -> None:
    """Print the table, and write it to the folder of the first part. Raise StageError if a run has failed."""
    from clipes.flows.terminal.reproduction_table import print_reproduction
    from clipes.tasks.commands.reproduce.comparison import Reproduction, compare
    from clipes.tasks.commands.reproduce.files import write_files
    from clipes.tasks.commands.reproduce.findings import deviations
    from clipes.tasks.storage.run_files import RunFiles

    found = deviations(findings)
    compared = [row for runs, result in zip(parts, results, strict=True) for row in compare(result, runs.config, found)]
    reproduction = Reproduction(
        parts[0].data, tuple(result.data for result in results), found, tuple(compared), tuple(left_out)
    )
    print_reproduction(out, reproduction)
    uri = write_files(reproduction, RunFiles(parts[0].config.store, parts[0].config.name))
    out.print(f"\nfiles: {uri}")
    if failed := [run for result in results for run in result.failed]:
        with explain_resume():
            raise StageError(f"{len(failed)} runs failed; the first is {failed[0].name}: {failed[0].failed}")
