"""Completed runs with given masks, for tests of export formats, and the masks that an export must contain."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from support.plain_reports import mask_row
from support.plain_runs import ledger_of, plain_run, run_inputs, write_artifact

from clipes.tasks.commands.export.formats import ExportOptions, export_run
from clipes.tasks.commands.export.request import Exported
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.runs.record.contents import manifest_table, rejects_table, run_json, status_table
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.storage.layout import MANIFEST_FILE, METRICS_FILE, REJECTS_FILE, RUN_JSON, STATUS_FILE
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.user_files import find_files
from clipes_core.vocabulary import ClassEntry, Vocabulary

NAMES = ("cat", "dog & <Katze>", 'Ünicode "quoted"', "ignore")
LIMIT = 0.5  # pixels with a lower confidence become 255


@dataclass(frozen=True)
class MasksRun:
    """A completed run.

    Attributes:
        store: URI of its store.
        name: its name.
        masks: image_id -> (H, W) uint8 ids, as an export with LIMIT must contain them.
        confidence: image_id -> (H, W) uint8 confidence levels.
        photos: image_id -> photo.
        names: names of the classes 1..K.
    """

    store: str
    name: str
    masks: Mapping[str, np.ndarray]
    confidence: Mapping[str, np.ndarray]
    photos: Mapping[str, Photo]
    names: tuple[str, ...]

    def export(self, format_name: str, to: Path | str, ignore_below: float = LIMIT, **options: bool) -> Exported:
        """Export the masks of the run."""
        return export_run(format_name, self.store, self.name, str(to), ignore_below, ExportOptions(**options))


def write_masks_run(
    folder: Path, masks: Mapping[str, np.ndarray], names: tuple[str, ...] = NAMES, shards: int = 2
) -> MasksRun:
    """Write photos and the files of a run with the given masks, in which 255 stands for pixels of low confidence."""
    photos, confidence, rows = {}, {}, {}
    for number, (image_id, ids) in enumerate(masks.items()):
        class_ids = tuple(int(each) for each in np.unique(ids) if 0 < each < 255)
        photos[image_id] = _write_photo(folder / "photos", image_id, ids.shape, class_ids)
        levels = np.random.default_rng(number).integers(128, 256, ids.shape, np.uint8)
        confidence[image_id] = np.where(ids == 255, np.uint8(100), levels)
        rows[image_id] = mask_row(image_id, np.where(ids == 255, np.uint8(1), ids), confidence[image_id])
    ids_of = [list(masks)[shard::shards] for shard in range(shards)]
    listed = {shard: tuple(photos[image_id] for image_id in ids_of[shard]) for shard in range(shards)}
    store = str(folder / "store")
    vocabulary = Vocabulary(classes=tuple(ClassEntry(name=name) for name in names))
    inputs = run_inputs(*listed.values(), settings={"execution": {"shards": shards}}, vocabulary=vocabulary)
    records = [write_artifact(store, MASKS, [rows[each] for each in ids_of[shard]], shard) for shard in listed]
    files = RunFiles(store, "plain")
    ended = {"state": "completed", "until": "masks", "finished": "2026-01-02T03:04:05+00:00"}
    run = run_json(plain_run(store, inputs, ("masks",)))
    files.write_json(RUN_JSON, {**run, **ended, "started": "2026-01-02T03:04:00+00:00"})
    files.write_table(MANIFEST_FILE, manifest_table(listed))
    files.write_table(REJECTS_FILE, rejects_table(()))
    files.write_table(STATUS_FILE, status_table(ledger_of(*records), store))
    files.write_json(METRICS_FILE, {})
    return MasksRun(store, "plain", dict(masks), confidence, photos, names)


def _write_photo(folder: Path, image_id: str, size_hw: tuple[int, ...], class_ids: tuple[int, ...]) -> Photo:
    path = folder / f"{image_id}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(image_id)).integers(0, 256, (*size_hw, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    (facts,) = find_files([str(path)]).values()
    return Photo(image_id, str(path), facts.size_bytes, facts.fingerprint, class_ids)


def odd_masks() -> dict[str, np.ndarray]:
    """Return masks that a format may get wrong: of odd sizes, without objects, with holes, noise and ignored pixels."""
    generator = np.random.default_rng(7)
    rows, columns = np.mgrid[:40, :60]
    rings = ((np.hypot(rows - 20, columns - 30) // 4).astype(np.uint8) % 2) * 2
    rings[:, 50:] = 255
    return {
        "a/b": rings,
        "a/c d": generator.choice(np.array([0, 1, 2, 3, 4, 255], np.uint8), (37, 53)),
        "ä ö'%#": (generator.random((50, 30)) < 0.6).astype(np.uint8),
        "background": np.zeros((20, 31), np.uint8),
        "full": np.full((21, 30), 3, np.uint8),
        "ignored": np.full((8, 9), 255, np.uint8),
        "one pixel wide": np.array([[0, 1, 1, 255, 2, 0, 1]], np.uint8).T.repeat(9, axis=0),
        "one pixel high": np.array([[0, 1, 1, 255, 2, 0, 1]], np.uint8),
        "pixel": np.array([[4]], np.uint8),
        "v1.2.3": (np.indices((30, 44)).sum(axis=0) % 2).astype(np.uint8) * 2,
    }
