"""Facts of runs for tests of the report, from files and artifacts with known numbers."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from support.plain_runs import VOCABULARY, ledger_of, plain_run, run_inputs

from clipes.tasks.inputs.photos import Photo, Reject
from clipes.tasks.inputs.pngs import grey_png, palette_png
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.report.facts import RunFacts, gather
from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.runs.record.contents import manifest_table, rejects_table, run_json, status_table
from clipes.tasks.stages.masks import MasksRow
from clipes.tasks.storage.layout import (
    EVALUATION_FILE,
    MANIFEST_FILE,
    METRICS_FILE,
    REJECTS_FILE,
    RUN_JSON,
    STATUS_FILE,
)
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import read_run

PALETTE = np.array(VOCABULARY.palette, np.uint8)


def plain_facts(
    folder: Path,
    *records: ShardRecord,
    photos: tuple[Photo, ...] = (),
    evaluation: tuple[Photo, ...] = (),
    rejects: Iterable[Reject] = (),
    metrics: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    **run: Any,
) -> RunFacts:
    """Write the files of a completed run of one shard, and gather its facts.

    Args:
        folder: folder of the store.
        records: records of the run's artifacts.
        photos: photos of the data set.
        evaluation: photos that the segmenter is scored on.
        rejects: photos without a result.
        metrics: content of metrics.json; by default, the facts have none.
        settings: sections of the config.
        run: entries of run.json that differ.
    """
    execution = {"execution": {"shards": 1}}
    prepared = plain_run(str(folder), run_inputs(photos, settings={**execution, **(settings or {})}), ("mask_scores",))
    files = RunFiles(str(folder), "plain")
    ended = {"state": "completed", "until": "segmenter_scores", "finished": "2026-01-02T03:04:05+00:00"}
    files.write_json(RUN_JSON, {**run_json(prepared), **ended, "started": "2026-01-02T03:04:00+00:00", **run})
    files.write_table(MANIFEST_FILE, manifest_table({0: photos}))
    files.write_table(EVALUATION_FILE, manifest_table({0: evaluation}))
    files.write_table(REJECTS_FILE, rejects_table(rejects))
    files.write_table(STATUS_FILE, status_table(ledger_of(*records), files.store_uri))
    files.write_json(METRICS_FILE, metrics or {})
    status = replace(read_run(str(folder), "plain"), metrics=metrics)
    return gather(status, RunArtifacts(files, status.shards))


def write_photo(folder: Path, image_id: str, class_ids: tuple[int, ...], truth: np.ndarray | None = None) -> Photo:
    """Write a grey photo of 6 x 4 px and, if `truth` is given, its true mask; return the photo."""
    folder.mkdir(parents=True, exist_ok=True)
    path, truth_path = folder / f"{image_id}.png", folder / f"{image_id}-truth.png"
    Image.new("RGB", (6, 4), (90, 90, 90)).save(path)
    if truth is None:
        return Photo(image_id, str(path), path.stat().st_size, "1", class_ids)
    truth_path.write_bytes(palette_png(truth, PALETTE))
    return Photo(image_id, str(path), path.stat().st_size, "1", class_ids, str(truth_path), "2")


def mask_row(image_id: str, mask: np.ndarray, confidence: np.ndarray) -> MasksRow:
    """Return the row of a pseudo mask with (H, W) uint8 ids and (H, W) uint8 confidence levels."""
    class_ids = tuple(int(class_id) for class_id in np.unique(mask) if class_id)
    return MasksRow(
        image_id=image_id,
        class_ids=class_ids,
        class_pixels=tuple(int((mask == class_id).sum()) for class_id in (0, *class_ids)),
        mask_png=palette_png(mask, PALETTE),
        confidence_png=grey_png(confidence),
        confidence_histogram=tuple(np.bincount(confidence.ravel(), minlength=256).tolist()),
    )


def class_scores(miou: float, images: int = 1, **class_iou: float | None) -> dict[str, Any]:
    """Return scores in the form of metrics.json."""
    others = {"pixel_accuracy": 0.5, "mean_accuracy": 0.5, "fwiou": 0.5, "background_power": 1}
    return {"miou": miou, "images": images, "class_iou": class_iou, **others}
