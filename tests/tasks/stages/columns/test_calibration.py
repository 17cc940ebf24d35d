import numpy as np
import pyarrow as pa
import pytest
from support.plain_runs import write_artifact

from clipes.tasks.stages.columns.calibration import COLUMNS, shard_calibration
from clipes.tasks.stages.mask_scores import MASK_SCORES, MaskScoresRow
from clipes.tasks.storage.parquet.writing import write_table
from clipes_core.errors import ErrorKind, PhotoError


def levels(**counts):
    found = np.zeros(256, int)
    for name, count in counts.items():
        found[int(name.removeprefix("at_"))] = count
    return tuple(found.tolist())


ROWS = [
    MaskScoresRow(image_id="a", confidence_pixels=levels(at_255=5), confidence_right=levels(at_255=3)),
    MaskScoresRow(image_id="of an earlier version"),
    MaskScoresRow(image_id="b", confidence_pixels=levels(at_255=1, at_0=2), confidence_right=levels(at_0=2)),
    MaskScoresRow.failed("c", PhotoError(ErrorKind.MISSING, "gone")),
]


@pytest.mark.parametrize(
    ("rows", "photos", "counted", "right"),
    [(ROWS, 2, levels(at_255=6, at_0=2), levels(at_255=3, at_0=2)), (ROWS[1:2], 0, levels(), levels())],
)
def test_the_counts_of_a_shard_are_added_up(tmp_path, rows, photos, counted, right):
    found = shard_calibration(write_artifact(str(tmp_path), MASK_SCORES, rows).uri)
    assert found.photos == photos
    assert found.counted.tolist() == list(counted)
    assert found.right.tolist() == list(right)


def test_an_artifact_without_the_columns_has_no_counts(tmp_path):
    path = tmp_path / "older.parquet"
    names = [name for name in MASK_SCORES.schema.names if name not in COLUMNS]
    write_table(str(path), path, pa.Table.from_pylist([{"image_id": "a"}], schema=MASK_SCORES.schema).select(names))
    found = shard_calibration(str(path))
    assert (found.photos, found.counted.sum(), found.right.sum()) == (0, 0, 0)
