"""Generate lists of photos and the stores of finished runs for scale.py. Nothing is computed."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clipes.tasks.plan.caching import REUSE_ALL
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.shard_plan import ShardPlan
from clipes.tasks.plan.stage import Stage
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.record.contents import manifest_table, run_json, status_table
from clipes.tasks.stages.cams import CAMS
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.stages.texts import TEXTS
from clipes.tasks.storage.layout import MANIFEST_FILE, RUN_JSON, STATUS_FILE
from clipes.tasks.storage.listed_store import ListedStore
from clipes.tasks.storage.run_files import RunFiles, run_identity

NAME = "scale"  # of the runs


def write_list(folder: Path, ids: Sequence[str]) -> None:
    """Write a list of photos, and an empty file for each photo."""
    (folder / "photos").mkdir()
    for name in ids:
        (folder / "photos" / f"{name}.jpg").touch()
    (folder / "list.csv").write_text("\n".join(["image,labels", *(f"{name}.jpg,car" for name in ids)]))


def prepared(inputs: RunInputs) -> PreparedRun:
    """Return a new run, which has not listed the store."""
    stages = (TEXTS.name, CAMS.name, MASKS.name)
    return PreparedRun(inputs, ListedStore(inputs.config.store), stages, (), stages[-1], REUSE_ALL)


def write_artifacts(run: PreparedRun) -> Iterator[list[str]]:
    """Write all artifacts of an empty store, and yield the URIs of the artifacts of each shard."""
    texts = run.plan(TEXTS, 0, {}, {})
    text = {"class_id": 0, "name": "sky", "sentences": [], "feature": []}
    write(run, TEXTS, texts, [text] * texts.rows)
    pngs = [png(np.random.default_rng(seed).integers(0, 3, (40, 40), dtype=np.uint8)) for seed in range(97)]
    histogram = [0] * 255 + [1600]
    for shard in run.shards(CAMS):
        cams = run.plan(CAMS, shard, {}, {})
        above = {CAMS.name: {name: output_digest(CAMS, name) for name in cams.input_digests}}
        masks = run.plan(MASKS, shard, {}, above)
        of_cams = {"height": 40, "width": 40, "class_ids": []}
        sizes = {"class_pixels": [1000, 600], "crf_changed": 0.01}
        of_masks = {"class_ids": [1], **sizes, "confidence_histogram": histogram}
        written = []
        for stage, plan, columns in ((CAMS, cams, of_cams), (MASKS, masks, of_masks)):
            rows = []
            for number, (image_id, digest) in enumerate(plan.input_digests.items()):
                picture = pngs[number % len(pngs)]
                pictures = {"cam": picture} if stage is CAMS else {"mask_png": picture, "confidence_png": picture}
                digests = {"input_digest": digest, "output_digest": output_digest(stage, image_id)}
                rows.append({"image_id": image_id, "status": "ok", **columns, **pictures, **digests})
            written.append(write(run, stage, plan, rows))
        yield written


def write(run: PreparedRun, stage: Stage, plan: ShardPlan, rows: Sequence[dict[str, Any]]) -> str:
    """Write the artifact of a plan, and return its URI."""
    with run.store.writer(plan.key, stage.schema, {"config": run.config.model_dump_json()}) as artifact:
        summary = stage.summary()
        for row in rows:
            artifact.write(row)
            if summary is not None:
                summary.add(row)
        artifact.add_metadata(summary.entries() if summary is not None else {})
    return run.store.artifact_uri(plan.key)


def output_digest(stage: Stage, image_id: str) -> str:
    """Return a digest for the row of a photo."""
    return hashlib.sha256(f"{stage.name} {image_id}".encode()).hexdigest()[:16]


def png(pixels: np.ndarray) -> bytes:
    """Encode pixels, (H, W) uint8."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_run_files(run: PreparedRun, ledger: Ledger) -> None:
    """Write the files of a run whose process has not ended."""
    files, begun = RunFiles(run.store.uri, NAME), run_json(run)
    files.write_json(RUN_JSON, begun)
    files.write_table(MANIFEST_FILE, manifest_table(run.inputs.shards), run_identity(begun))
    files.write_table(STATUS_FILE, status_table(ledger, run.store.uri), run_identity(begun))
