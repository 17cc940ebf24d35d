"""What the footer of an artifact of masks states about each mask, so that finding photos to check fetches no mask."""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow.compute as pc

from clipes.tasks.storage.parquet.footer import read_footer
from clipes.tasks.storage.parquet.reading import read_table, rows_of
from clipes_core.evaluation.photos_to_check import MaskFacts, facts_of_mask

ENTRY = "mask_facts"  # name of the entry in the footer
COLUMNS = ("image_id", "status", "class_ids", "class_pixels")
CRF_CHANGED = "crf_changed"  # artifacts of earlier versions lack this column


class MaskFactsSummary:
    """Summarises the masks of a shard; see `Stage.summary`."""

    def __init__(self) -> None:
        self._facts: list[MaskFacts] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        if row["status"] == "ok":
            self._facts.append(_facts_of(row))

    def entries(self) -> dict[str, str]:
        """Return the entries for the footer. The numbers are in the order of the rows with a mask; nan is None."""
        found = {
            "foreground": _encoded([facts.foreground for facts in self._facts]),
            CRF_CHANGED: _encoded([facts.crf_changed for facts in self._facts]),
            "unseen": {str(place): facts.unseen for place, facts in enumerate(self._facts) if facts.unseen},
        }
        return {ENTRY: json.dumps(found)}


def shard_mask_facts(uri: str) -> dict[str, MaskFacts]:
    """Read the facts about the masks in an artifact: from its footer, or from the rows if the footer lacks them.

    Artifacts of earlier versions of clipes lack them.

    Returns:
        image_id -> facts, for each photo with a mask.

    Raises:
        BrokenArtifactError: the artifact is missing, does not open, fails a checksum or lacks a column.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    footer = read_footer(uri)
    if footer.index is None or ENTRY not in footer.metadata:
        changed = (CRF_CHANGED,) * (CRF_CHANGED in footer.schema.names)
        rows = rows_of(read_table(uri, (*COLUMNS, *changed)))
        return {row["image_id"]: _facts_of(row) for row in rows if row["status"] == "ok"}
    found = json.loads(footer.metadata[ENTRY])
    ids = footer.index.filter(pc.equal(footer.index["status"], "ok"))["image_id"].to_pylist()
    numbers = zip(ids, _decoded(found["foreground"]), _decoded(found[CRF_CHANGED]), strict=True)
    return {
        image_id: MaskFacts(foreground, tuple(found["unseen"].get(str(place), ())), changed)
        for place, (image_id, foreground, changed) in enumerate(numbers)
    }


def _facts_of(row: Mapping[str, Any]) -> MaskFacts:
    return facts_of_mask(row["class_ids"], row["class_pixels"], row.get(CRF_CHANGED))


def _encoded(values: list[float | None]) -> str:
    numbers = [math.nan if value is None else value for value in values]
    return base64.b64encode(np.array(numbers, "<f8").tobytes()).decode()


def _decoded(text: str) -> list[float | None]:
    numbers = np.frombuffer(base64.b64decode(text), "<f8").tolist()
    return [None if math.isnan(number) else number for number in numbers]
