"""The section of docs/results.md on the sharpness of templates and the mIoU of their CAMs."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.results.calls import CONFIG, Clipes
from benchmarks.results.paragraphs import paragraph
from clipes.tasks.storage.layout import RANKING_SCORES_TABLE

DEMO_SEED = 0  # dataset.seed in CONFIG
PHOTOS = 200
Ranking = Mapping[str, Any]


def rank(clipes: Clipes, seed: int) -> Ranking:
    """Rank the shipped templates on the scenes of a seed, and score the CAMs of a sample of them.

    Returns:
        A dict with two keys. `rows` has the rows of prompt_scores.parquet, in descending order of the mIoU of the
        refined CAMs. `facts` has the entry `prompt_scores` of metrics.json.
    """
    options = ("--with-miou", "--miou-photos", str(PHOTOS))
    files = clipes.run("prompts", "results-prompts", *options, settings=[f"dataset.seed={seed}"])
    rows = sorted(files.read_rows(RANKING_SCORES_TABLE), key=lambda row: -row["refined_miou"])
    return {"rows": rows, "facts": (files.read_metrics() or {})["prompt_scores"]}


def sharpness_section(rankings: Mapping[int, Ranking]) -> list[str]:
    """Return the lines of the section: what sharpness predicts, a table of all seeds, and one for the first seed.

    Args:
        rankings: seed -> what `rank` returns.
    """
    first, ranking = next(iter(rankings.items()))
    lines = [
        "## Sharpness and mIoU of templates",
        "",
        *paragraph(
            f"For each seed, `clipes prompts {CONFIG} --set dataset.seed=SEED --with-miou --miou-photos {PHOTOS}`",
            "ranked the shipped templates by sharpness, and scored the CAMs for a sample of these templates.",
            *([f"Seed {first} is the seed of the demo."] if first == DEMO_SEED else []),
            *verdict(rankings),
            "The first table shows:",
        ),
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
    for seed, found in rankings.items():
        facts, rows = found["facts"], found["rows"]
        cells = [
            str(facts["templates"]),
            f"{signed(facts['spearman_initial'])}, {signed(facts['spearman_refined'])}",
            *(best_and_median(rows, what) for what in ("initial_miou", "refined_miou")),
        ]
        lines.append(f"| {seed} | {' | '.join(cells)} |")
    lines += ["", f"The sampled templates of seed {first}, sorted by the mIoU (in %) of their refined CAMs:", ""]
    lines += ["| rank by sharpness | template | sharpness | initial CAM | refined CAM |", "|---|---|---|---|---|"]
    for row in ranking["rows"]:
        scores = " | ".join(f"{100 * row[what]:.1f}" for what in ("initial_miou", "refined_miou"))
        lines.append(f"| {row['rank']} | {row['template']} | {row['sharpness']:.4f} | {scores} |")
    return lines


def verdict(rankings: Mapping[int, Ranking]) -> list[str]:
    """Return sentences that say whether the correlations have the sign that the paper expects."""
    lines = []
    for key, what in (("spearman_initial", "initial"), ("spearman_refined", "refined")):
        known = [found["facts"][key] for found in rankings.values() if found["facts"][key] is not None]
        negative = sum(value < 0 for value in known)
        agrees = "as" if known and negative == len(known) else "unlike" if not negative else "only in part as"
        lines.append(
            f"For the {what} CAMs, the correlation is negative for {negative} of {len(known)} seeds, "
            f"{agrees} in the paper."
        )
    return lines


def best_and_median(rows: Sequence[Mapping[str, Any]], what: str) -> str:
    """Format the mIoU of the template with the best rank, and the median mIoU of the sampled templates."""
    (best,) = (row[what] for row in rows if row["rank"] == 1)
    return f"{100 * best:.2f}, {100 * statistics.median(row[what] for row in rows):.2f}"


def signed(correlation: float | None) -> str:
    """Format a rank correlation. If it is None, because all scores are equal, the result is `undefined`."""
    return "undefined" if correlation is None else f"{correlation:+.2f}"
