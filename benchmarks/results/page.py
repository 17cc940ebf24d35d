"""The page docs/results.md: measure each of its sections, and join them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from benchmarks.results.calls import Clipes
from benchmarks.results.grids import GRIDS, SEGMENTER, agreement_section, grid_section, run_grids, segmenter_section
from benchmarks.results.paragraphs import paragraph
from benchmarks.results.photos_to_check import check_section, checked_photos
from benchmarks.results.sharpness import DEMO_SEED, rank, sharpness_section
from clipes.tasks.ablation.tables.table import table_of


@dataclass(frozen=True)
class Seeds:
    """The seeds of the page.

    Attributes:
        scenes: seeds of the scenes on which grids run and templates are ranked.
        check: seeds of the scenes whose photos to check are counted.
        training: seeds of the trainings of the segmenter.
    """

    scenes: Sequence[int]
    check: Sequence[int]
    training: Sequence[int]


def results_page(clipes: Clipes, seeds: Seeds, grids: Collection[str]) -> str:
    """Measure everything on the demo's scenes, and return the content of docs/results.md.

    Args:
        clipes: the command, with the demo's config.
        seeds: the seeds.
        grids: names of the grids that are run.
    """
    tables = run_grids(clipes, (name for name in GRIDS if name in grids), seeds.scenes)
    trained = clipes.ablation(SEGMENTER, seeds={"train.seed": [*seeds.training]}) if SEGMENTER in grids else None
    compared = tables if trained is None else {**tables, SEGMENTER: table_of(trained)}
    sections = [
        _head(seeds),
        agreement_section(compared),
        *(grid_section(name, table) for name, table in tables.items()),
        sharpness_section({seed: rank(clipes, seed) for seed in dict.fromkeys((DEMO_SEED, *seeds.scenes))}),
        check_section({seed: checked_photos(clipes, seed) for seed in seeds.check}),
        *([segmenter_section(trained)] if trained is not None else []),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _head(seeds: Seeds) -> list[str]:
    scenes, check, training = (", ".join(map(str, each)) for each in (seeds.scenes, seeds.check, seeds.training))
    return [
        "# Results on the demo's scenes",
        "",
        *paragraph(
            "`python -m benchmarks.results` writes this page, which nobody edits by hand. All numbers are measured",
            f"with the demo's small CLIP on generated scenes: the pseudo masks with the seeds {scenes} of the scenes,",
            f"the photos to check with the seeds {check}, and the segmenter with the seeds {training} of the training.",
            "The background score of a pixel is (1 - its largest CAM value)^p, and CAMs are scored with the power p",
            "that gives the best mIoU.",
        ),
    ]
