"""The export format hf: pseudo masks as Parquet files that Hugging Face's `datasets` loads, with a dataset card."""

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipes.tasks.commands.export.files.class_list import Classes
from clipes.tasks.commands.export.pseudo_masks import ExportedMask, PseudoMasks
from clipes.tasks.commands.export.request import Exported, ExportRequest
from clipes.tasks.inputs.pngs import grey_png
from clipes.tasks.storage.user_files import join, list_names
from clipes_core.pseudo_mask import IGNORE_INDEX

CARD, FOLDER, FILE = "README.md", "data", "data/train-{number:05d}.parquet"
EXISTING_FILE = re.compile(r"train-\d{5,}\.parquet")
FILE_BYTES, GROUP_BYTES = 400 << 20, 32 << 20  # of the encoded images; a file and a row group end when they reach it
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])  # how `datasets` stores an image
Group = tuple[list[dict[str, Any]], int]  # rows, and the size of their encoded images [bytes]


def export(request: ExportRequest) -> Exported:
    """Write Parquet files of some hundred megabytes, one row group at a time, and a dataset card.

    If an earlier export had more Parquet files, the others are removed.

    Raises:
        ClipesError: see `export_run`.
    """
    masks, classes = PseudoMasks(request, copy_photos=False), Classes.of_run(request.run.run)
    names = list_names(join(request.output.uri, FOLDER)) or []
    others = {f"{FOLDER}/{name}": None for name in names if EXISTING_FILE.fullmatch(name)}  # in the order of the names
    masks.check(CARD, *(others | {FILE.format(number=0): None}))
    written = []
    schema = _schema(classes, request.confidence)
    groups = _groups(_row(photo, request) for photo in masks)
    for number, first in enumerate(groups):
        written.append(FILE.format(number=number))
        with (
            request.output.open(written[-1]) as file,
            pq.ParquetWriter(file, schema, compression="zstd") as parquet,
        ):
            size = 0
            for rows, group_size in chain([first], groups):
                parquet.write_table(pa.Table.from_pylist(rows, schema))
                size += group_size
                if size >= FILE_BYTES:
                    break
    for name in others.keys() - written:
        request.output.remove(name)
    request.output.write(CARD, _card(request.run.run["name"], request.ignore_below, classes, written).encode())
    return masks.outcome()


def _row(photo: ExportedMask, request: ExportRequest) -> dict[str, Any]:
    """Return the row of a photo. Without `--photos`, it refers to the photo by its path or URI."""
    copied = request.photos
    row = {
        "image_id": photo.image_id,
        "image": {"bytes": photo.read_photo() if copied else None, "path": photo.file_name if copied else photo.uri},
        "mask": _png(photo.ids),
        "classes": [class_id for class_id in np.unique(photo.ids).tolist() if class_id not in (0, IGNORE_INDEX)],
    }
    return {**row, "confidence": _png(photo.confidence)} if request.confidence else row


def _png(levels: np.ndarray) -> dict[str, Any]:
    return {"bytes": grey_png(levels), "path": None}


def _groups(rows: Iterator[dict[str, Any]]) -> Iterator[Group]:
    """Yield the rows in groups of about GROUP_BYTES; if there are no rows, yield one empty group."""
    group: list[dict[str, Any]] = []
    size, first = 0, True
    for row in rows:
        group.append(row)
        size += sum(len(value["bytes"] or b"") for value in row.values() if isinstance(value, dict))
        if size >= GROUP_BYTES:
            yield group, size
            group, size, first = [], 0, False
    if group or first:
        yield group, size


def _schema(classes: Classes, confidence: bool) -> pa.Schema:
    """Return the schema of the files. Its metadata tells `datasets` which columns are images and classes."""
    images = ("image", "mask", "confidence") if confidence else ("image", "mask")
    columns = [("image_id", pa.string()), *((name, IMAGE) for name in images), ("classes", pa.list_(pa.int64()))]
    names = [classes.background.name, *(each.name for each in classes.named)]
    features = {
        "image_id": {"dtype": "string", "_type": "Value"},
        **{name: {"_type": "Image"} for name in images},
        "classes": {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"},
    }
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _card(name: str, ignore_below: float, classes: Classes, files: list[str]) -> str:
    data_files = "\n".join(f"  - {file}" for file in files)
    lines = "\n".join(
        f"| {each.id} | {each.name.replace('|', chr(92) + '|')} | {each.hex_colour} |"
        for each in (classes.background, *classes.named, classes.ignore)
    )
    return f"""---
configs:
- config_name: default
  data_files:
{data_files}
task_categories:
- image-segmentation
---

# Pseudo masks of the clipes run {name}

`mask` holds the class id of each pixel. Pixels whose confidence is lower than {ignore_below} have the id 255. `classes`
lists the classes in the mask. The masks were computed from image-level labels; nobody has corrected them.

| id | class | colour |
|---|---|---|
{lines}
"""
