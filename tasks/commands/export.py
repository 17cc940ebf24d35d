"""Masks out of the artifacts, as palette PNGs in VOC's way."""

import io
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from clipes.tasks.inputs.datasets.entries import path_inside, without_extension
from clipes.tasks.inputs.pngs import palette_png
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import EVALUATION_FILE
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import RunStatus, read_run
from clipes.tasks.storage.user_files import write_bytes
from clipes_core.errors import StageError
from clipes_core.pseudo_mask import ignore_unsure

MADE = {"masks": "masks", "segmenter_scores": "predictions"}
SERVER_FOLDER = "results/VOC2012/Segmentation/comp6_{split}_cls"


@dataclass(frozen=True)
class Exported:
    """How many masks were written, and how many photos of the run have none, for whatever reason."""

    written: int
    left_out: int


def export_masks(store_uri: str, name: str, to: str, ignore_below: float) -> Exported:
    """Write a run's pseudo masks as `<to>/<image_id>.png`, in the colours they were made with.

    Args:
        store_uri: of the run.
        name: of the run.
        to: folder or URI; made where it is not there.
        ignore_below: pixels whose confidence is below it become 255; 0 keeps all.

    Raises:
        UsageError: no such run.
        StageError: the run has no masks yet.
        ArtifactError: an artifact cannot be read.
        DatasetError: the folder cannot be written.
        PhotoError: an artifact holds an id that leads out of the folder; this program makes none.
    """
    status, store = read_run(store_uri, name), ArtifactStore(store_uri)
    rows = _good_rows(store, status, "masks", ("mask_png", "confidence_png"))
    pngs = ((row["image_id"], _exported_png(row["mask_png"], row["confidence_png"], ignore_below)) for row in rows)
    written = _write(to, pngs)
    return Exported(written, left_out=status.run["photos"] - written)


def export_predictions(store_uri: str, name: str, to: str) -> Exported:
    """Write the masks that a run's segmenter has predicted, where and as VOC's evaluation server takes them.

    Their names are `<to>/results/VOC2012/Segmentation/comp6_<split>_cls/<image_id>.png`, with the split's name for the
    photos of the evaluation. The server's comp6 is for methods that use other data than VOC's, as CLIP does.

    Args:
        store_uri: of the run.
        name: of the run.
        to: folder or URI; made where it is not there.

    Raises:
        UsageError: no such run.
        StageError: the run has no predictions yet.
        ArtifactError: an artifact cannot be read.
        DatasetError: the folder cannot be written.
        PhotoError: an artifact holds an id that leads out of the folder; this program makes none.
    """
    status, store = read_run(store_uri, name), ArtifactStore(store_uri)
    rows = _good_rows(store, status, "segmenter_scores", ("mask_png",))
    config = status.run["config"]
    split = config["evaluation"]["split"] or config["dataset"]["split"]
    folder = posixpath.join(to, SERVER_FOLDER.format(split=without_extension(posixpath.basename(split))))
    written = _write(folder, ((row["image_id"], row["mask_png"]) for row in rows))
    evaluated = RunFiles(store_uri, name).read_table(EVALUATION_FILE, ["image_id"]).num_rows
    return Exported(written, left_out=evaluated - written)


def _good_rows(
    store: ArtifactStore, status: RunStatus, stage: str, columns: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    uris = status.artifacts(stage)
    if not uris:
        raise StageError(f"run {status.run['name']} has no {MADE[stage]} yet: run it up to the stage {stage}")
    rows = (row for uri in uris for row in store.read_rows(uri, ("image_id", "status", *columns)))
    return (row for row in rows if row["status"] == "ok")


def _write(folder: str, pngs: Iterable[tuple[str, bytes]]) -> int:
    written = 0
    for image_id, png in pngs:
        write_bytes(posixpath.join(folder, f"{path_inside(image_id)}.png"), png)
        written += 1
    return written


def _exported_png(mask_png: bytes, confidence_png: bytes, ignore_below: float) -> bytes:
    with Image.open(io.BytesIO(mask_png)) as mask, Image.open(io.BytesIO(confidence_png)) as confidence:
        palette = np.array(mask.getpalette(), dtype=np.uint8).reshape(-1, 3)
        return palette_png(ignore_unsure(np.array(mask), np.array(confidence), ignore_below), palette)
