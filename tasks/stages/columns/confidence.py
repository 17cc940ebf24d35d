"""What the footer of an artifact of masks states about their confidence, so that a report need not fetch the masks."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipes.tasks.storage.parquet.footer import read_footer
from clipes.tasks.storage.parquet.reading import read_table
from clipes_core.confidence import mean_confidence

ENTRY = "confidence"  # name of the entry in the footer


@dataclass(frozen=True, eq=False)
class ShardConfidence:
    """Confidence of the masks of a shard.

    Attributes:
        means: image_id -> mean confidence of the photo's pixels in [0, 1], for each photo with a mask.
        histogram: (256,) int64, number of pixels at each stored level, over all masks.
    """

    means: Mapping[str, float]
    histogram: np.ndarray


class ConfidenceSummary:
    """Summarises the confidence of the rows of a shard; see `Stage.summary`."""

    def __init__(self) -> None:
        self._means: list[float] = []
        self._histogram = np.zeros(256, np.int64)

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        if row["status"] == "ok":
            counts = np.array(row["confidence_histogram"])
            self._means.append(mean_confidence(counts))
            self._histogram += counts

    def entries(self) -> dict[str, str]:
        """Return the entries for the footer. The means are in the order of the rows with a mask."""
        means = base64.b64encode(np.array(self._means, "<f4").tobytes()).decode()
        return {ENTRY: json.dumps({"histogram": self._histogram.tolist(), "means": means})}


def shard_confidence(uri: str) -> ShardConfidence:
    """Read the confidence of the masks in an artifact: from its footer, or from the rows if the footer lacks it.

    Artifacts of earlier versions of clipes lack it.

    Raises:
        BrokenArtifactError: the artifact is missing, does not open, fails a checksum or lacks a column.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    footer = read_footer(uri)
    if footer.index is None or ENTRY not in footer.metadata:
        return _from_rows(read_table(uri, ("image_id", "status", "confidence_histogram")))
    found = json.loads(footer.metadata[ENTRY])
    means = np.frombuffer(base64.b64decode(found["means"]), "<f4")
    return _named(footer.index, means, np.array(found["histogram"], np.int64))


def _from_rows(table: pa.Table) -> ShardConfidence:
    lists = table.filter(pc.equal(table["status"], "ok"))["confidence_histogram"].combine_chunks()
    counts = pc.list_flatten(lists).to_numpy().reshape(-1, 256)
    means = np.array([mean_confidence(each) for each in counts], "<f4")
    return _named(table, means, counts.sum(axis=0, dtype=np.int64))


def _named(table: pa.Table, means: np.ndarray, histogram: np.ndarray) -> ShardConfidence:
    """Combine means with the ids of the photos that have a mask, in the order of the rows."""
    ids = table.filter(pc.equal(table["status"], "ok"))["image_id"].to_pylist()
    return ShardConfidence(dict(zip(ids, means.tolist(), strict=True)), histogram)
