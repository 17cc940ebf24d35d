"""Read how many pixels of the masks are right at each level of confidence."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from clipes.tasks.storage.parquet.footer import read_footer
from clipes.tasks.storage.parquet.reading import read_table

COLUMNS = ("confidence_pixels", "confidence_right")  # artifacts of earlier versions lack them


@dataclass(frozen=True, eq=False)
class ShardCalibration:
    """The accuracy of the masks of a shard by confidence.

    Attributes:
        photos: number of photos that are counted.
        counted: (256,) int64, number of pixels with a true id at each level of confidence.
        right: (256,) int64, how many of them are right.
    """

    photos: int
    counted: np.ndarray
    right: np.ndarray


def shard_calibration(uri: str) -> ShardCalibration:
    """Read the counts of an artifact of `mask_scores`. Rows of earlier versions of clipes are not counted.

    Raises:
        BrokenArtifactError: the artifact is missing, does not open or fails a checksum.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    footer = read_footer(uri)
    if not set(COLUMNS) <= set(footer.schema.names):
        return ShardCalibration(0, np.zeros(256, np.int64), np.zeros(256, np.int64))
    lists = [column.combine_chunks() for column in read_table(uri, COLUMNS).columns]
    counted, right = (pc.list_flatten(each).to_numpy().reshape(-1, 256).sum(axis=0, dtype=np.int64) for each in lists)
    return ShardCalibration(len(lists[0]) - lists[0].null_count, counted, right)
