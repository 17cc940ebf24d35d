"""Measure what the sharpness of a template predicts if captions used the templates differently.

    python -m benchmarks.sharpness --seeds 0 101 102 103

The CLIP is that of the demo, whose training captions used the templates as `varied_uses` says. Each seed gives a
different data set of generated scenes. The benchmark writes a section of docs/sharpness.md.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from clipes.tasks.inputs.templates import PAPER_TEMPLATES, shipped_templates
from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.stages.prompts import PROMPTS
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import read_run
from clipes_core.demo.template_uses import TemplateUse, varied_uses
from clipes_core.template_ranking import spearman

ROOT = Path(__file__).parents[1]
CONFIG, NAME = "configs/demo.yaml", "results-sharpness"
PAGE = ROOT / "docs" / "sharpness.md"
HEADING = "## Measured"
GROUPS: dict[str, Callable[[TemplateUse], bool]] = {
    "frequent (weight 64)": lambda use: use.weight == 64,
    "occasional (weight 8)": lambda use: use.weight == 8,
    "rare (weight 1)": lambda use: use.weight == 1,
    "never used": lambda use: use.weight == 0,
    "used, reliable": lambda use: is_reliable(use),
    "used, unreliable": lambda use: use.weight > 0 and use.reliability < 1,
    "used, for all scenes": lambda use: use.weight > 0 and not use.single,
    "used, only for scenes with one object": lambda use: use.weight > 0 and use.single,
    "frequent, reliable, for all scenes": lambda use: use.weight == 64 and use.reliability == 1 and not use.single,
}


@dataclass(frozen=True)
class Measured:
    """What was measured with one template on the scenes of one seed.

    Attributes:
        sharpness: sharpness of the template; lower is better.
        mean_score: mean softmax score of the classes of a scene, averaged over the scenes.
        initial_miou: mIoU of the initial CAMs, [0, 1].
        refined_miou: mIoU of the refined CAMs, [0, 1].
    """

    sharpness: float
    mean_score: float
    initial_miou: float
    refined_miou: float


Seeds = Mapping[int, Mapping[TemplateUse, Measured]]


def main() -> None:
    """Rank and score all templates on the scenes of each seed, and write the section."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 101, 102, 103])
    parser.add_argument("--store", default=str(ROOT / "clipes-store"))
    parser.add_argument("--pretrained", default="clipes-demo", help="weights of the CLIP, as clip.pretrained")
    parser.add_argument("--photos", type=int, default=200, help="number of scenes on which CAMs are scored")
    parser.add_argument("--to", type=Path, default=PAGE)
    arguments = parser.parse_args()
    found = {seed: measured(seed, arguments.store, arguments.pretrained, arguments.photos) for seed in arguments.seeds}
    before = arguments.to.read_text().partition(HEADING)[0].rstrip()
    arguments.to.write_text("\n".join([before, "", HEADING, "", *section(found, arguments.photos)]) + "\n")
    print(f"wrote {arguments.to}")


def measured(seed: int, store: str, pretrained: str, photos: int) -> dict[TemplateUse, Measured]:
    """Run `clipes prompts --with-miou` on the scenes of one seed with all templates.

    Returns:
        Use of a template -> what was measured, in the order of the ranking.
    """
    uses = {use.template: use for use in varied_uses(shipped_templates())}
    options = ("--with-miou", "--miou-photos", str(photos), "--miou-templates", str(len(uses)))
    settings = ("--set", f"dataset.seed={seed}", "--set", f"clip.pretrained={pretrained}")
    call = [sys.executable, "-m", "clipes", "prompts", CONFIG, "--name", NAME, "--store", store, *options, *settings]
    subprocess.run(call, cwd=ROOT, check=True)
    rows = pq.read_table(Path(store, "runs", NAME, "prompt_scores.parquet")).to_pylist()
    means = dict(zip(shipped_templates(), mean_scores(store, len(uses)), strict=True))
    return {
        uses[row["template"]]: Measured(
            row["sharpness"], means[row["template"]], row["initial_miou"], row["refined_miou"]
        )
        for row in sorted(rows, key=lambda row: row["rank"])
    }


def mean_scores(store: str, templates: int) -> list[float]:
    """Return, for each template, the mean softmax score of a scene's classes, averaged over all scenes."""
    artifacts = RunArtifacts(RunFiles(store, NAME), read_run(store, NAME).shards)
    rows = artifacts.rows(PROMPTS.name, ("status", "scores"))
    scores = [np.reshape(row["scores"], (templates, -1)).mean(axis=1) for row in rows if row["status"] == "ok"]
    return np.mean(scores, axis=0).tolist()


def section(found: Seeds, photos: int) -> list[str]:
    """Return the lines of the section: one table by seed, one by group of templates, and one by property."""
    return [
        f"`python -m benchmarks.sharpness --seeds {' '.join(map(str, found))} --photos {photos}`",
        "wrote this section. mIoU is in %.",
        "",
        "**Does sharpness predict mIoU?** Spearman's rank correlation of sharpness with the mIoU of the initial and of",
        "the refined CAMs; the paper expects negative numbers. Then the mIoU of the refined CAMs with four templates:",
        "the one of lowest sharpness, which `prompts.template=auto` chooses; the one of lowest sharpness among the",
        f"reliable templates; the median template; and the paper's, `{PAPER_TEMPLATES[0]}`.",
        "",
        *seed_table(found),
        "",
        "**What do the groups of templates look like?** Means over the seeds. The mean score is the softmax score of a",
        "scene's own classes, the denominator of the sharpness; the background words have the rest.",
        "",
        *group_table(found),
        "",
        "**Which property of a template do sharpness and mIoU follow?** Spearman's rank correlation over the templates",
        "that captions used: the mean over the seeds and, in brackets, the lowest and the highest value.",
        "",
        *property_table(found),
    ]


def seed_table(found: Seeds) -> list[str]:
    """Return the lines of the table that has one row per seed."""
    lines = [
        "| seed | Spearman, all templates | Spearman, reliable templates | lowest sharpness | lowest sharpness among "
        "the reliable | median | the paper's |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed, templates in found.items():
        reliable = {use: each for use, each in templates.items() if is_reliable(use)}
        refined = [each.refined_miou for each in templates.values()]
        (paper,) = (each.refined_miou for use, each in templates.items() if use.template == PAPER_TEMPLATES[0])
        cells = [
            correlations(templates),
            correlations(reliable),
            best(templates),
            best(reliable),
            f"{100 * statistics.median(refined):.1f}",
            f"{100 * paper:.1f}",
        ]
        lines.append(f"| {seed} | {' | '.join(cells)} |")
    return lines


def correlations(templates: Mapping[TemplateUse, Measured]) -> str:
    """Format the rank correlations of sharpness with the mIoU of the initial and of the refined CAMs."""
    sharpness = [each.sharpness for each in templates.values()]
    initial = spearman(sharpness, [each.initial_miou for each in templates.values()])
    refined = spearman(sharpness, [each.refined_miou for each in templates.values()])
    return f"{initial:+.2f}, {refined:+.2f}"


def best(templates: Mapping[TemplateUse, Measured]) -> str:
    """Format the template of lowest sharpness, and the mIoU of its refined CAMs."""
    use = min(templates, key=lambda use: templates[use].sharpness)
    return f"{100 * templates[use].refined_miou:.1f} (`{use.template}`)"


def is_reliable(use: TemplateUse) -> bool:
    """Say whether captions used the template, and all of them described their own scene."""
    return use.weight > 0 and use.reliability == 1


def group_table(found: Seeds) -> list[str]:
    """Return the lines of the table that has one row per group of templates."""
    lines = [
        "| templates | number | sharpness | mean score | initial CAM | refined CAM |",
        "|---|---|---|---|---|---|",
    ]
    for title, belongs in GROUPS.items():
        own = [each for templates in found.values() for use, each in templates.items() if belongs(use)]
        values = [
            f"{statistics.mean(each.sharpness for each in own):.4f}",
            f"{statistics.mean(each.mean_score for each in own):.3f}",
            f"{100 * statistics.mean(each.initial_miou for each in own):.1f}",
            f"{100 * statistics.mean(each.refined_miou for each in own):.1f}",
        ]
        lines.append(f"| {title} | {len(own) // len(found)} | {' | '.join(values)} |")
    return lines


def property_table(found: Seeds) -> list[str]:
    """Return the lines of the table that has one row per property of a template."""
    rows: dict[str, Callable[[TemplateUse, Measured], float]] = {
        "frequency (weight)": lambda use, _: use.weight,
        "reliability": lambda use, _: use.reliability,
        "used for all scenes": lambda use, _: not use.single,
        "mean score of the classes": lambda _, each: each.mean_score,
        "sharpness": lambda _, each: each.sharpness,
    }
    lines = ["| property | with sharpness | with mIoU of initial CAMs | of refined CAMs |", "|---|---|---|---|"]
    for title, value in rows.items():
        cells = (over_seeds(found, value, what) for what in ("sharpness", "initial_miou", "refined_miou"))
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def over_seeds(found: Seeds, value: Callable[[TemplateUse, Measured], float], what: str) -> str:
    """Format the rank correlation of two values over the used templates: its mean and its range over the seeds."""
    each_seed = []
    for templates in found.values():
        used = {use: each for use, each in templates.items() if use.weight}
        values = [value(use, each) for use, each in used.items()]
        each_seed.append(spearman(values, [getattr(each, what) for each in used.values()]))
    return f"{statistics.mean(each_seed):+.2f} ({min(each_seed):+.2f} to {max(each_seed):+.2f})"


if __name__ == "__main__":
    main()
