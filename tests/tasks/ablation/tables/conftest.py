"""Results of ablations with numbers worked out by hand."""

import pytest

from clipes.tasks.ablation.grid import Grid, Variant
from clipes.tasks.ablation.result import AblationResult, VariantResult, VariantRun
from clipes_core.config.run import check_section

PUBLISHED = {
    "MHSA": {"refined_cam": "voc_train_mhsa", "pseudo_mask": "voc_train_mhsa_crf"},
    "CAA": {"refined_cam": "voc_train_caa", "pseudo_mask": "voc_train_caa_crf"},
}


@pytest.fixture
def result_of():
    """Return a function that makes a result: label -> metrics of each run, or the reason of its failure.

    `missing` has label -> figure -> why the runs of the variant do not have the figure.
    """

    def result_of(metrics, missing=None, **keys):
        values = {"name": "table", "title": "A table", "variants": {label: {} for label in metrics}, **keys}
        grid = check_section(Grid, values)
        results = tuple(
            VariantResult(
                each,
                tuple(
                    _run(each, place, found, (missing or {}).get(each.label, {}))
                    for place, found in enumerate(metrics[each.label])
                ),
            )
            for each in grid.all_variants
        )
        return AblationResult(grid, "demo-table", "/store/runs/demo-table", "scenes, 6 photos", results)

    return result_of


def _run(variant: Variant, place: int, found: dict | str, missing: dict[str, str]) -> VariantRun:
    name = f"demo-table-{variant.label}-{place}"
    failed, metrics = (found, {}) if isinstance(found, str) else (None, found)
    report = None if failed else f"/store/runs/{name}/report.html"
    return VariantRun({"dataset.seed": place}, name, f"/store/runs/{name}", report, metrics, failed, missing)


def scored(**mious):
    """Return metrics with these mIoUs, and boat's IoU of 0.25."""
    return {what: {"miou": miou, "class_iou": {"boat": 0.25, "train": None}} for what, miou in mious.items()}


@pytest.fixture
def refinements(result_of):
    """Return two variants with three seeds each, whose order is the paper's for the refined CAMs only."""
    return result_of(
        {
            "MHSA": [scored(refined_cam=cam, pseudo_mask=0.46) for cam in (0.40, 0.42, 0.44)],
            "CAA": [scored(refined_cam=cam, pseudo_mask=0.45) for cam in (0.42, 0.41, 0.46)],
        },
        reference="MHSA",
        show=["refined_cam", "pseudo_mask", "refined_cam.boat", "refined_cam.train"],
        published=PUBLISHED,
        paper="The paper says so.",
    )
