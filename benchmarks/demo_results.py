"""Run variants of the demo on new scenes, and write the scores of the variants to docs/results.md.

    python -m benchmarks.demo_results --seeds 101 102 103

Each seed gives a different data set of generated scenes. These scenes were not used to choose any setting. The
benchmark reuses artifacts in the store.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
CONFIG = "configs/demo.yaml"
DEMO_SEED = 0  # dataset.seed in CONFIG
CHECK_HEADING = "## Photos to check"  # benchmarks.check_results writes the section under this heading
SEGMENTER_HEADING = "## The segmenter"  # benchmarks.segmenter_results writes the section under this heading
SCORES = {
    "centre_box": "centre box (baseline)",
    "initial_cam": "initial CAM",
    "refined_cam": "refined CAM",
    "pseudo_mask": "pseudo mask (+ CRF)",
}
VARIANTS = {
    "`configs/demo.yaml` (CAA)": (),
    "`cam.softmax=false`": ("cam.softmax=false",),
    "`cam.refine=mhsa`": ("cam.refine=mhsa",),
    "`prompts.template=auto`": ("prompts.template=auto",),
}


def main() -> None:
    """For each seed, run all variants of the demo and rank the templates. Then write the scores."""
    arguments = parse_arguments(__doc__, [101, 102, 103])
    metrics = {
        variant: [run(seed, settings, arguments.store) for seed in arguments.seeds]
        for variant, settings in VARIANTS.items()
    }
    prompts = {seed: prompt_scores(seed, arguments.store) for seed in (DEMO_SEED, *arguments.seeds)}
    others = "".join(arguments.to.read_text().partition(CHECK_HEADING)[1:])
    arguments.to.write_text("\n".join(filter(None, [page(arguments.seeds, metrics, prompts), others])))
    print(f"wrote {arguments.to}")


def parse_arguments(description: str, seeds: list[int]) -> argparse.Namespace:
    """Parse --seeds, --store and --to.

    Args:
        description: docstring of the program. --help shows its first line.
        seeds: default of --seeds.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=seeds)
    parser.add_argument("--store", default="clipes-store")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results.md")
    return parser.parse_args()


def run(seed: int, settings: Sequence[str], store: str) -> dict[str, Any]:
    """Run one variant with one seed. Return the content of metrics.json, and the template of the run."""
    clipes("run", "results", store, "--until", "mask_scores", settings=(f"dataset.seed={seed}", *settings))
    folder = ROOT / store / "runs" / "results"
    made = json.loads((folder / "run.json").read_text())
    return {**json.loads((folder / "metrics.json").read_text()), "template": made["template"]}


def clipes(command: str, name: str, store: str, *options: str, settings: Sequence[str]) -> None:
    """Run a clipes command with the demo's config. The `clipes` program is the one next to this Python interpreter.

    Args:
        command: name of the command: run or prompts.
        name: name of the run.
        store: folder of artifacts and runs.
        options: further options of the command.
        settings: settings that override the config, each as KEY=VALUE.
    """
    program = Path(sys.executable).with_name("clipes")
    overrides = [word for setting in settings for word in ("--set", setting)]
    call = [program, command, CONFIG, "--name", name, "--store", store, *options, *overrides]
    subprocess.run(call, cwd=ROOT, check=True)


def prompt_scores(seed: int, store: str) -> dict[str, Any]:
    """Run `clipes prompts --with-miou` with one seed, and return the ranking of the templates.

    Returns:
        A dict with two keys. `rows` has the rows of prompt_scores.parquet, in descending order of the mIoU of the
        refined CAMs. `facts` has the content of metrics.json.
    """
    name = "results-prompts"
    clipes("prompts", name, store, "--with-miou", "--miou-photos", "200", settings=[f"dataset.seed={seed}"])
    folder = ROOT / store / "runs" / name
    rows = pq.read_table(folder / "prompt_scores.parquet").to_pylist()
    facts = json.loads((folder / "metrics.json").read_text())
    return {"rows": sorted(rows, key=lambda row: -row["refined_miou"]), "facts": facts}


def page(
    seeds: Sequence[int],
    metrics: Mapping[str, Sequence[Mapping[str, Any]]],
    prompts: Mapping[int, Mapping[str, Any]],
) -> str:
    """Return the content of docs/results.md without the sections that other benchmarks write."""
    command = f"python -m benchmarks.demo_results --seeds {' '.join(map(str, seeds))}"
    lines = [
        "# Results on the demo's scenes",
        "",
        "## Pseudo masks",
        "",
        f"`{command}` wrote this section and the next one.",
        "Each seed gives a different set of 200 scenes. All variants use the demo's small CLIP. The tables show mIoU",
        "in %. The first table has the mean over the seeds and, in brackets, the lowest and the highest value. The",
        "second table has the value of each seed. The background score of a pixel is (1 - its largest CAM value)^p,",
        "and CAMs are scored with the power p that gives the best mIoU.",
        "",
        *score_table(metrics),
        "",
        *seed_table(seeds, metrics),
        *prompt_section(prompts),
    ]
    return "\n".join(lines) + "\n"


def score_table(metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return the lines of the table of scores, which has one row per variant."""
    lines = [f"| variant | {' | '.join(SCORES.values())} |", f"|---|{'---|' * len(SCORES)}"]
    for variant, runs in metrics.items():
        cells = [spread([100 * run[what]["miou"] for run in runs]) for what in SCORES]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return lines


def seed_table(seeds: Sequence[int], metrics: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return the lines of a table: for each seed, the mIoU of the pseudo masks and the chosen template."""
    lines = [f"| mIoU of the pseudo masks, by seed | {' | '.join(map(str, seeds))} |", f"|---|{'---|' * len(seeds)}"]
    for variant, runs in metrics.items():
        cells = [f"{100 * run['pseudo_mask']['miou']:.1f}" for run in runs]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    chosen = " | ".join(f"`{one['template']}`" for one in metrics["`prompts.template=auto`"])
    return [*lines, f"| template that `prompts.template=auto` chose | {chosen} |"]


def spread(values: Sequence[float]) -> str:
    """Format the mean of the values, followed by the lowest and the highest value."""
    return f"{statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def prompt_section(prompts: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """Return the lines of the section on templates: a table of all seeds, and a table for the demo's seed."""
    lines = [
        "",
        "## Sharpness and mIoU of templates",
        "",
        f"For each seed, `clipes prompts {CONFIG} --set dataset.seed=SEED --with-miou --miou-photos 200`",
        "ranked the shipped templates by sharpness, and scored the CAMs for a sample of these templates.",
        f"Seed {DEMO_SEED} is the seed of the demo. The first table shows:",
        "",
        "- **Spearman**: the rank correlation between the sharpness of the templates and the mIoU of their CAMs. In",
        "  the paper, this correlation is negative: templates of lower sharpness give better masks.",
        "- **chosen**: the mIoU in % with the template that `prompts.template=auto` chooses (lowest sharpness).",
        "- **median**: the median mIoU in % of all templates in the sample.",
        "",
        "| seed | templates in the sample | Spearman: initial CAM, refined CAM | initial CAM: chosen, median "
        "| refined CAM: chosen, median |",
        "|---|---|---|---|---|",
    ]
    for seed, found in prompts.items():
        facts, rows = found["facts"]["prompt_scores"], found["rows"]
        cells = [
            str(facts["templates"]),
            f"{signed(facts['spearman_initial'])}, {signed(facts['spearman_refined'])}",
            *(best_and_median(rows, what) for what in ("initial_miou", "refined_miou")),
        ]
        lines.append(f"| {seed} | {' | '.join(cells)} |")
    lines += ["", f"The sampled templates of seed {DEMO_SEED}, sorted by the mIoU (in %) of their refined CAMs:", ""]
    lines += ["| rank by sharpness | template | sharpness | initial CAM | refined CAM |", "|---|---|---|---|---|"]
    for row in prompts[DEMO_SEED]["rows"]:
        scores = " | ".join(f"{100 * row[what]:.1f}" for what in ("initial_miou", "refined_miou"))
        lines.append(f"| {row['rank']} | {row['template']} | {row['sharpness']:.4f} | {scores} |")
    return lines


def best_and_median(rows: Sequence[Mapping[str, Any]], what: str) -> str:
    """Format the mIoU of the template with the best rank, and the median mIoU of the sampled templates."""
    (best,) = (row[what] for row in rows if row["rank"] == 1)
    return f"{100 * best:.2f}, {100 * statistics.median(row[what] for row in rows):.2f}"


def signed(correlation: float | None) -> str:
    """Format a rank correlation. If it is None, because all scores are equal, the result is `undefined`."""
    return "undefined" if correlation is None else f"{correlation:+.2f}"


if __name__ == "__main__":
    main()
