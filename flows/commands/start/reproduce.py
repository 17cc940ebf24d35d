"""The command `clipes reproduce`: repeat the measurements of the paper, and compare the results with its numbers."""

from functools import partial
from typing import Annotated

import typer

from clipes.flows.commands.options import Set, StoreOrConfigs, location_option
from clipes.flows.exit_codes import BAD_USAGE, explain_resume
from clipes.flows.terminal.consoles import out
from clipes.tasks.machine.log import each_message_once
from clipes.tasks.machine.terminal import announce
from clipes_core.errors import StageError

# The loggers about what all runs share. The events of a run are logged each time, also if they are the same.
OF_INPUTS = ("tasks.inputs", "tasks.models", "tasks.runs.inputs", "tasks.runs.record.shard_count")
SAMPLE = 24  # photos that the forecast measures


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
        bool,
        typer.Option("--plan", help="Check the data, show what the runs would reuse and compute, and exit."),
    ] = False,
) -> None:
    """Repeat the measurements of the paper, and compare the results with its numbers. To resume, repeat the command."""
    from clipes.tasks.commands.reproduce.paper_config import check_data_name

    check_data_name(data)
    given = {"dataset": {"root": root}, "clip": {"pretrained": clip}, "store": store}
    given = {key: value for key, value in given.items() if value not in (None, {"pretrained": None})}
    with announce("loading the checks"):
        from clipes.flows.estimation import Request, kept_estimate, make_estimate
        from clipes.flows.reproduction import choose_parts, compare_parts, run_parts
        from clipes.flows.terminal.reproduction_parts import (
            print_forecast,
            print_left_out,
            print_part_check,
            print_part_plan,
        )
        from clipes.flows.terminal.reproduction_table import print_reproduction
        from clipes.tasks.commands.reproduce.files import write_files
        from clipes.tasks.storage.run_files import RunFiles

    with each_message_once(*OF_INPUTS):
        parts = choose_parts(data, overrides or (), given, segmenter, partial(print_part_check, out))
        if parts is None:
            raise typer.Exit(BAD_USAGE)
        for part in parts.chosen:
            runs = part.runs
            out.print(f"\n{runs.grid.title}: {'plan' if plan else 'forecast of each run'}\n")
            if plan:
                print_part_plan(out, runs, kept_estimate(runs.config, Request(SAMPLE)))
            else:
                print_forecast(out, runs, make_estimate(runs.config, Request(SAMPLE)))
        print_left_out(out, parts.left_out)
        if plan:
            return
        with explain_resume():
            results = run_parts(parts)
        reproduction = compare_parts(parts, results)
        print_reproduction(out, reproduction)
        first = parts.chosen[0].runs.config
        out.print(f"\nfiles: {write_files(reproduction, RunFiles(first.store, first.name))}")
        if failed := [run for result in results for run in result.failed]:
            with explain_resume():
                raise StageError(f"{len(failed)} runs failed; the first is {failed[0].name}: {failed[0].failed}")
