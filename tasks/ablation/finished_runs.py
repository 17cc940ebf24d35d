"""The results of an ablation's runs that have completed."""

from collections.abc import Mapping
from typing import Any

from clipes.tasks.ablation.figures import SHARPNESS
from clipes.tasks.ablation.grid import Grid
from clipes.tasks.ablation.result import VariantRun
from clipes.tasks.ablation.sharpness import run_sharpness
from clipes.tasks.ablation.variant_runs import PlannedVariantRun
from clipes.tasks.storage.layout import run_uri
from clipes_core.config.run import RunConfig
from clipes_core.evaluation.scored import REFINED_CAM


def completed_run(run: PlannedVariantRun, grid: Grid, metrics: Mapping[str, Any], report: str | None) -> VariantRun:
    """Return the result of a run that has completed.

    Args:
        run: the run.
        grid: the grid; if it shows the sharpness of the template, it is measured.
        metrics: content of the run's metrics.json.
        report: URI of its report.html; None if there is none.

    Raises:
        ArtifactError: a file of the run cannot be read.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    config, missing = run.config, missing_figures(run.config)
    kept = {key: value for key, value in metrics.items() if key not in missing}
    if SHARPNESS in grid.show and SHARPNESS not in missing:
        kept[SHARPNESS] = run_sharpness(config)
    return VariantRun(run.seed, config.name, run_uri(config.store, config.name), report, kept, missing=missing)


def missing_figures(config: RunConfig) -> dict[str, str]:
    """Return the figures that a run with this config does not have, each with the reason.

    A run that does not refine its CAMs scores them a second time as refined CAMs, with the exponents p of refined CAMs.
    An ablation does not show this score, because its difference from that of the initial CAMs is no effect of a method.
    """
    missing = {}
    if config.cam.refine == "none":
        missing[REFINED_CAM.key] = "the CAMs are not refined (cam.refine=none)"
    if not config.cam.softmax:
        missing[SHARPNESS] = "the scores of the CAMs are logits (cam.softmax=false)"
    return missing
