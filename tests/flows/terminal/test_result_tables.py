import io
import random
import re

import pytest
from rich.console import Console

from clipes.flows.rankings.templates import PromptSelection
from clipes.flows.terminal.rankings.template_tables import print_selection
from clipes.flows.terminal.result_tables import (
    print_exported,
    print_garbage,
    print_metrics,
    print_missing_weights,
    print_plan,
    print_status,
)
from clipes.tasks.commands.export.request import Exported
from clipes.tasks.commands.garbage import GarbageCount
from clipes.tasks.inputs.photos import Reject
from clipes.tasks.machine.terminal import TerminalConsole
from clipes.tasks.runs.dry_run import StagePlan
from clipes.tasks.runs.pooled_scores import TemplateScore
from clipes.tasks.runs.record.recorder import RunSummary
from clipes.tasks.runs.templates.ranking import TemplateRanking
from clipes.tasks.runs.templates.ranking_record import ScoredSample
from clipes.tasks.stages.registry import all_names
from clipes.tasks.storage.run_status import RunStatus
from clipes_core.errors import ErrorKind
from clipes_core.evaluation.scored import SCORED
from clipes_core.template_ranking import RankedTemplate

COUNTS = {
    "images": 600,
    "shards": 1,
    "cached_shards": 0,
    "computed_shards": 1,
    "failed_shards": 0,
    "copied_rows": 0,
    "computed_rows": 600,
    "wall_seconds": 60.0,
    "busy_seconds": 50.0,
}
SCORES = {"miou": 0.5, "pixel_accuracy": 0.75, "mean_accuracy": 0.625, "background_power": None, "images": 6}
TRAINING = {
    "iterations": 600,
    "iterations_per_second": 12.5,
    "precision": "bf16",
    "processes": 2,
    "device": "cuda",
    "kept_fraction": 0.8125,
    "best_miou": 0.51,
    "best_iteration": 540,
}


@pytest.fixture
def console():
    console = TerminalConsole(io.StringIO())
    console.width = 200
    return console


def lines(console):
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_metrics_of_an_earlier_version_may_lack_counts(console):
    print_metrics(console, {"stages": {"cams": {name: COUNTS[name] for name in COUNTS if name != "computed_rows"}}})
    assert [line.split() for line in console.file.getvalue().splitlines()][1:] == [
        ["cams", "1", "0", "0", "600", "0", "60.0", "50.0"]
    ]
    print_metrics(console, {})


def test_a_training_is_summarised_after_its_counts_and_scores(console):
    print_metrics(console, {"stages": {"segmenter": COUNTS}, "segmenter": SCORES, "training": TRAINING})
    assert lines(console)[1:] == [
        "segmenter (iterations) 1 0 0 600 0 600 10.00 60.0 50.0",
        "score mIoU pixel accuracy mean accuracy power photos",
        "Segmenter (evaluation) 0.5000 0.7500 0.6250 6",
        "segmenter trained for 600 iterations at 12.50 iterations/s in bf16 by 2 processes on cuda, the loss used "
        "81.2% of the labelled pixels, best mIoU during training 0.5100 at iteration 540",
    ]


def test_warnings_follow_the_scores(console):
    print_metrics(console, {"stages": {}, "warnings": ["the true masks [x] are doubtful"]})
    assert lines(console)[-1] == "warning: the true masks [x] are doubtful"


def test_a_training_resumed_after_its_last_iteration_has_no_speed(console):
    training = {**TRAINING, "iterations_per_second": None, "processes": 1, "best_miou": None}
    print_metrics(console, {"stages": {}, "training": training})
    assert lines(console)[-1] == (
        "segmenter trained for 600 iterations in bf16 by 1 process on cuda, the loss used 81.2% of the labelled pixels"
    )


def test_the_status_of_a_running_training_shows_iterations(console):
    run = {"name": "demo", "state": "running", "started": "now", "photos": 9, "error": None}
    shards = [
        {"stage": "masks", "shard": 0, "state": "completed", "images": 9},
        {"stage": "segmenter", "shard": 0, "state": "running", "images": 240},
        {"stage": "segmenter_scores", "shard": 0, "state": "pending", "images": 0},
    ]
    print_status(console, RunStatus(run, shards, None, 0, interrupted=False))
    assert lines(console) == [
        "run demo: running, started now, 9 photos",
        "stage shards pending running cached completed failed not run rows",
        "masks 1 0 0 0 1 0 0 9",
        "segmenter (iterations) 1 0 1 0 0 0 0 240",
        "segmenter_scores 1 1 0 0 0 0 0 0",
    ]


def test_the_status_of_an_ablation_has_no_table_of_stages(console):
    run = {"name": "demo-t", "state": "running", "started": "now", "photos": 0, "error": None, "ablation": {"runs": []}}
    print_status(console, RunStatus(run, [], None, 0, interrupted=False))
    assert lines(console) == ["run demo-t: running, started now, 0 photos"]


def test_the_status_of_a_failed_run_says_which_shards_were_not_run_and_why(console):
    run = {"name": "demo", "state": "failed", "started": "now", "photos": 9, "error": "cams shard 1: no room"}
    states = {"cams": ("completed", "failed"), "masks": ("not_run", "not_run", "cached")}
    shards = [
        {"stage": stage, "shard": shard, "state": state, "images": 0, "reason": f"not run: reason {shard}"}
        for stage, own in states.items()
        for shard, state in enumerate(own)
    ]
    print_status(console, RunStatus(run, shards, {"stages": {}}, 0, interrupted=False))
    assert lines(console)[1] == "cams shard 1: no room"
    assert lines(console)[-1] == "masks: 2 of 3 shards were not run; the first is shard 0: reason 0"


@pytest.mark.parametrize(
    ("state", "unmade", "expected"),
    [
        ("completed", 0, ["8 masks in out, 1 photos without a mask (see rejects.parquet of the run)"]),
        (
            "interrupted",
            4,
            [
                "8 masks in out, 1 photos without a mask (the run lists them in rejects.parquet at its end)",
                "run voc12 (interrupted): 4 masks are not made yet; run it again, then export",
            ],
        ),
        (
            "running",
            4,
            [
                "8 masks in out, 1 photos without a mask (the run lists them in rejects.parquet at its end)",
                "run voc12 (running): 4 masks are not made yet; export them when the run has ended",
            ],
        ),
        (
            "failed",
            4,
            [
                "8 masks in out, 1 photos without a mask (see rejects.parquet of the run)",
                "run voc12 (failed): 4 masks are not made yet; run it again, then export",
            ],
        ),
    ],
)
def test_an_export_states_which_masks_are_not_made_yet(console, state, unmade, expected):
    print_exported(console, Exported(8, left_out=1, unmade=unmade, state=state), "voc12", "out")
    assert lines(console) == expected


def test_an_export_states_how_many_pixels_are_ignored_and_which_files_are_old(console):
    print_exported(console, Exported(8, left_out=0, pixels=4000, ignored=1100), "voc12", "out")
    assert lines(console)[1:] == [
        "1,100 of 4,000 pixels (27.5 %) became 255 (ignore), because their confidence is too low; --ignore-below 0 "
        "keeps them",
    ]


def big(numbers):
    """Draw a number of 6 to 12 digits and remember it, so that no two numbers are equal."""
    drawn = random.Random(len(numbers)).randrange(10**5, 10**12)
    numbers.append(str(drawn))
    return drawn


def exact(numbers, digits):
    """Draw a large number with decimal places, and remember how a table shows it."""
    drawn = big(numbers) + 0.75
    numbers[-1] = f"{drawn:.{digits}f}"
    return drawn


def stage_counts(numbers):
    counts = {key: big(numbers) for key in COUNTS if key not in ("computed_shards", "wall_seconds", "busy_seconds")}
    return {**counts, "wall_seconds": exact(numbers, 1), "busy_seconds": exact(numbers, 1)}


def plan(numbers):
    plans = [StagePlan(stage, *(big(numbers) for _ in range(5))) for stage in all_names()]
    return lambda console: print_plan(console, plans, verified=False)


def test_a_plan_counts_the_rejected_photos_of_each_kind(console):
    rejects = [
        Reject(image_id, f"/{image_id}", "manifest", ErrorKind.MISSING, f"no file at /{image_id}") for image_id in "ab"
    ]
    print_plan(console, [StagePlan("cams", 1, 0, 0, 0, 0)], verified=False, rejects=rejects)
    assert lines(console)[-2:] == ["2 photos are rejected:", "2 missing: no file at /a (a); no file at /b (b)"]


def test_weights_that_several_runs_lack_are_named_once(console):
    print_missing_weights(console, ["", ""])
    assert lines(console) == []
    print_missing_weights(console, ["openai of RN50", "", "webli of ViT-B-16-SigLIP", "openai of RN50"])
    assert " ".join(lines(console)).startswith(
        "weights of CLIP that are not on this machine: openai of RN50, webli of ViT-B-16-SigLIP. A run downloads them."
    )


def metrics(numbers):
    stages = {stage: stage_counts(numbers) for stage in all_names()}
    scores = {each.key: {**SCORES, "miou": exact(numbers, 4), "images": big(numbers)} for each in SCORED}
    return lambda console: print_metrics(console, {"stages": stages, **scores})


def status(numbers):
    run = {"name": "demo", "state": "running", "started": "now", "photos": big(numbers), "error": None}
    shards = [{"stage": stage, "shard": 0, "state": "running", "images": big(numbers)} for stage in all_names()]
    return lambda console: print_status(console, RunStatus(run, shards, None, 0, interrupted=False))


def garbage(numbers):
    counts = [GarbageCount("masks", big(numbers), 10**6 * big(numbers))]
    numbers[-1] += ".0"
    return lambda console: print_garbage(console, counts, removed=False)


def selection(numbers):
    ranked = tuple(
        RankedTemplate(big(numbers), f"a photo of {{}} number {big(numbers)} .", exact(numbers, 5)) for _ in range(2)
    )
    scores = tuple(TemplateScore(exact(numbers, 4), 1, exact(numbers, 4), 2) for _ in range(2))
    sample = ScoredSample(ranked, scores, photos=2, spearman_initial=0.5, spearman_refined=0.5)
    best = {"pooling": "cls", "templates": 2, "sharpness": 0.5, "template": "a {}."}
    chosen = PromptSelection(
        RunSummary("demo", "store", 0, {"stages": {}, "prompts": best}), TemplateRanking(ranked, 1, 1), sample
    )
    return lambda console: print_selection(console, chosen, verified=False)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("table", [plan, metrics, status, garbage, selection])
def test_every_number_of_a_table_appears_whole_at_any_width(table, width):
    numbers = []
    show = table(numbers)
    console = Console(file=io.StringIO(), width=width, soft_wrap=True, highlight=False)
    show(console)
    assert set(numbers) <= set(re.findall(r"\d+(?:\.\d+)?", console.file.getvalue()))


def test_on_a_narrow_terminal_columns_of_zeros_are_left_out():
    console = TerminalConsole(io.StringIO())
    console.width = 80
    counts = {**COUNTS, "images": 123_456, "computed_rows": 123_456, "wall_seconds": 12345.6, "busy_seconds": 98765.4}
    print_metrics(console, {"stages": dict.fromkeys(all_names(), counts)})
    header, *rows = console.file.getvalue().splitlines()
    assert header.split() == ["stage", "shards", "rows", "computed", "rows/s", "wall", "s", "busy", "s"]
    assert len(rows) == len(all_names())
    assert max(map(len, rows)) <= 80
