"""Train the demo's segmenter with two different losses, and write the scores to docs/results.md.

    python -m benchmarks.segmenter_results --seeds 0 1 2

The losses are the confidence-guided loss and cross entropy. The photos and masks are those of configs/demo.yaml. A seed
determines the initial weights, the order of the photos and their augmentation. The benchmark reuses artifacts in the
store.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from benchmarks.demo_results import CONFIG, ROOT, SEGMENTER_HEADING, clipes, parse_arguments, spread

LOSSES = {"cgl": "confidence-guided (`train.loss=cgl`, mu 0.95)", "ce": "cross entropy (`train.loss=ce`)"}
CRF = {"true": "with CRF", "false": "without CRF"}
WHY = (
    "The pseudo masks are made with the labels of the scenes, but the segmenter predicts without labels. It is small,",
    "starts from random weights and is trained on only 200 scenes, so that the demo ends in minutes. The mIoU",
    "differs less between the two losses than between training seeds. Nearly all pixels of the pseudo masks have a",
    "confidence of at least 0.95, so both losses are computed on nearly the same pixels.",
    "",
    "On another type of processor, the mIoU can differ by up to two points, because processors round sums differently,",
    "and these differences grow during the training.",
)


def main() -> None:
    """Train a segmenter with each loss and seed. Score each segmenter with and without a CRF. Write all scores."""
    arguments = parse_arguments(__doc__, [0, 1, 2])
    seeds, store = arguments.seeds, arguments.store
    runs = {(loss, crf): [run(loss, crf, seed, store) for seed in seeds] for loss, crf in product(LOSSES, CRF)}
    kept = arguments.to.read_text().partition(SEGMENTER_HEADING)[0].rstrip()
    arguments.to.write_text(f"{kept}\n\n{section(seeds, runs)}")
    print(f"wrote {arguments.to}")


def run(loss: str, crf: str, seed: int, store: str) -> dict[str, Any]:
    """Run one variant, and return the content of metrics.json. Runs that differ only in `crf` share a segmenter."""
    name = f"results-{loss}-{seed}-crf-{crf}"
    settings = (f"train.loss={loss}", f"train.seed={seed}", f"evaluation.crf.enabled={crf}")
    clipes("run", name, store, settings=settings)
    return json.loads((ROOT / store / "runs" / name / "metrics.json").read_text())


def section(seeds: Sequence[int], runs: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]) -> str:
    """Return the section of docs/results.md on the segmenter."""
    first = runs["cgl", "true"][0]
    command = f"python -m benchmarks.segmenter_results --seeds {' '.join(map(str, seeds))}"
    lines = [
        SEGMENTER_HEADING,
        "",
        f"`{command}` wrote this section. The segmenter of `{CONFIG}`",
        f"is trained on the pseudo masks of {first['pseudo_mask']['images']} scenes, which have an mIoU of "
        f"{100 * first['pseudo_mask']['miou']:.1f} %. The segmenter is scored on {first['segmenter']['images']} scenes",
        "of another seed. The table shows the mIoU of the segmenter in %: the mean over the training seeds (in",
        "brackets, the lowest and the highest value), and the value for each training seed. The column `pixels kept`",
        "shows which share of the labelled pixels counts in the loss.",
        "",
        f"| loss | prediction | mIoU | {' | '.join(f'seed {seed}' for seed in seeds)} | pixels kept |",
        f"|---|---|---|{'---|' * len(seeds)}---|",
    ]
    for (loss, crf), of_seeds in runs.items():
        scores = [100 * run["segmenter"]["miou"] for run in of_seeds]
        kept = sum(run["training"]["kept_fraction"] for run in of_seeds) / len(scores)
        cells = " | ".join(f"{score:.1f}" for score in scores)
        lines.append(f"| {LOSSES[loss]} | {CRF[crf]} | {spread(scores)} | {cells} | {kept:.1%} |")
    return "\n".join([*lines, "", *WHY]) + "\n"


if __name__ == "__main__":
    main()
