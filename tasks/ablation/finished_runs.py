"""The results of an ablation's runs that have completed, in this call or in an earlier one."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from clipes.tasks.ablation.figures import SHARPNESS
from clipes.tasks.ablation.grid import Grid
from clipes.tasks.ablation.result import VariantRun
from clipes.tasks.ablation.variant_runs import PlannedVariantRun
from clipes.tasks.stages.cams import CAMS
from clipes.tasks.stages.registry import run_names
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import REPORT_FILE, run_uri
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import check_belongings
from clipes_core.config.run import RunConfig, parse_config
from clipes_core.errors import ArtifactError, ConfigError
from clipes_core.evaluation.scored import REFINED_CAM
from clipes_core.template_ranking import sharpness

WITHOUT_EFFECT = {"name", "store", "execution", "report"}  # parts of a config that do not change the figures

logger = logging.getLogger(__name__)


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


def earlier_results(runs: Iterable[PlannedVariantRun], grid: Grid) -> list[tuple[PlannedVariantRun, VariantRun]]:
    """Return the runs that earlier calls have completed with the same settings, each with its result.

    Runs whose files are damaged are left out with a warning.

    Args:
        runs: runs that this call does not start.
        grid: the grid.

    Raises:
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    found = ((run, _earlier_result(run, grid)) for run in runs)
    return [(run, result) for run, result in found if result is not None]


def _earlier_result(run: PlannedVariantRun, grid: Grid) -> VariantRun | None:
    files = RunFiles(run.config.store, run.config.name)
    try:
        last = files.read_run()
        if last is None or not _is_complete(last, run.config, grid.last_stage):
            return None
        check_belongings(files, last)
        metrics = files.read_metrics()
        report = files.uri(REPORT_FILE) if files.find(REPORT_FILE) is not None else None
        return None if metrics is None else completed_run(run, grid, metrics, report)
    except ArtifactError as exc:
        logger.warning("the table lacks the run %s, whose files are damaged: %s", files.name, exc)
        return None


def _is_complete(last: Mapping[str, Any], config: RunConfig, until: str) -> bool:
    """Return whether a run has completed a stage with these settings.

    Args:
        last: content of its run.json.
        config: the settings.
        until: name of the stage.
    """
    reaching = run_names()[run_names().index(until) :]
    if last["state"] != "completed" or last["until"] not in reaching:
        return False
    try:
        before = parse_config(last["config"])
    except ConfigError:  # an earlier version of clipes, which had other keys
        return False
    return before.model_dump(exclude=WITHOUT_EFFECT) == config.model_dump(exclude=WITHOUT_EFFECT)


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


def run_sharpness(config: RunConfig) -> float | None:
    """Return the sharpness of the template of a finished run (CLIP-ES sec. 3.2), at least 0; None if no photo has CAMs.

    Args:
        config: config of the run. Its CAMs come from a softmax.

    Raises:
        ArtifactError: a file of the run cannot be read.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    rows = RunFiles(config.store, config.name).read_status()
    uris = [row["artifact"] for row in rows if row["stage"] == CAMS.name and row["artifact"]]
    scores = list(_scores(config.store, uris))
    return float(sharpness(scores)[0]) if scores else None


def _scores(store_uri: str, uris: list[str]) -> Iterator[np.ndarray]:
    """Yield the (1, K) scores of each photo that has CAMs."""
    for table in ArtifactStore(store_uri).read_all(uris, ["scores"]):
        yield from (np.asarray([scores]) for scores in table["scores"].to_pylist() if scores)
