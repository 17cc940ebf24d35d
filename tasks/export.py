"""Masks out of the artifacts, as palette PNGs in VOC's way."""

import io
import posixpath
from dataclasses import dataclass

import numpy as np
from fsspec.core import url_to_fs
from PIL import Image

from clipes_core.errors import StageError
from clipes_core.pseudo_mask import ignore_unsure
from clipes_core.vocabulary import Vocabulary
from tasks.artifact_store import ArtifactStore
from tasks.masks import palette_png
from tasks.run_files import read_run
from tasks.vocabularies import load_vocabulary


@dataclass(frozen=True)
class Exported:
    """How many masks were written, and how many photos have none."""

    written: int
    left_out: int


def export_masks(store_uri: str, name: str, to: str, ignore_below: float) -> Exported:
    """Write a run's pseudo masks as `<to>/<image_id>.png`.

    Args:
        store_uri: of the run.
        name: of the run.
        to: folder or URI; made where it is not there.
        ignore_below: pixels whose confidence is below it become 255; 0 keeps all.

    Raises:
        UsageError: no such run.
        StageError: the run has no masks yet.
        ArtifactError: an artifact cannot be read.
    """
    status, store = read_run(store_uri, name), ArtifactStore(store_uri)
    uris = [row["artifact"] for row in status.shards if row["stage"] == "masks" and row["artifact"]]
    if not uris:
        raise StageError(f"run {name} has no masks yet: run it up to the stage masks")
    palette = _palette(load_vocabulary(status.run["config"]["dataset"]["classes"]))
    written = left_out = 0
    for uri in uris:
        for row in store.read_rows(uri, ["image_id", "status", "mask_png", "confidence_png"]):
            if row["status"] != "ok":
                left_out += 1
                continue
            mask = ignore_unsure(_ids(row["mask_png"]), _ids(row["confidence_png"]), ignore_below)
            _write(posixpath.join(to, f"{row['image_id']}.png"), palette_png(mask, palette))
            written += 1
    return Exported(written, left_out)


def _palette(vocabulary: Vocabulary) -> np.ndarray:
    return np.asarray(vocabulary.palette, dtype=np.uint8)


def _ids(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.array(image)


def _write(uri: str, data: bytes) -> None:
    fs, path = url_to_fs(uri)
    fs.makedirs(posixpath.dirname(path), exist_ok=True)
    fs.pipe_file(path, data)
