import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clipes.tasks.runs.pooled_scores import pooled_segmenter_scores
from clipes.tasks.stages.columns.confusions import TRIPLET_COLUMNS, cell_columns, photo_miou, sparse_cells
from clipes.tasks.storage.artifact_store import ArtifactStore


def artifact(path, *photos):
    """An artifact of photos, each as (truth, prediction, pixels) triplets."""
    columns = [[[cell[place] for cell in photo] for photo in photos] for place in range(3)]
    kinds = (pa.uint8(), pa.uint8(), pa.int64())
    named = zip(TRIPLET_COLUMNS, columns, kinds, strict=True)
    table = {name: pa.array(column, pa.list_(kind)) for name, column, kind in named}
    pq.write_table(pa.table(table), path)
    return str(path)


def test_all_pixels_of_all_photos_are_scored_together(tmp_path):
    store = ArtifactStore(str(tmp_path))
    first = artifact(tmp_path / "a.parquet", [(0, 0, 6), (1, 0, 2)], [])
    second = artifact(tmp_path / "b.parquet", [(1, 1, 4), (0, 0, 2)], [(1, 1, 2)])

    pooled = pooled_segmenter_scores(store, [first, second], 3)

    assert pooled is not None
    assert (pooled.images, pooled.background_power) == (3, None)  # the photo without truth does not count
    np.testing.assert_allclose(pooled.scores.class_iou, [8 / 10, 6 / 8, np.nan])
    assert pooled.scores.miou == pytest.approx((0.8 + 0.75) / 2)


def test_without_any_truth_there_are_no_scores(tmp_path):
    store = ArtifactStore(str(tmp_path))
    assert pooled_segmenter_scores(store, [artifact(tmp_path / "a.parquet", [], [])], 3) is None
    assert pooled_segmenter_scores(store, [], 3) is None


def test_a_photo_is_scored_over_the_classes_of_its_truth():
    row = dict(zip(TRIPLET_COLUMNS, ([0, 1, 1], [0, 0, 1], [6, 2, 4]), strict=True))
    assert photo_miou(row, 3) == pytest.approx((6 / 8 + 4 / 6) / 2)
    assert np.isnan(photo_miou({name: [] for name in TRIPLET_COLUMNS}, 3))


def test_the_cells_that_are_not_zero_in_row_order():
    assert list(sparse_cells(np.array([[3, 0], [1, 2]]))) == [(0, 0, 3), (1, 0, 1), (1, 1, 2)]


def test_cells_become_one_column_per_value():
    cells = [(0, 0, 6), (1, 0, 2)]
    assert cell_columns(TRIPLET_COLUMNS, iter(cells)) == {"truth": (0, 1), "prediction": (0, 0), "pixels": (6, 2)}
    assert cell_columns(TRIPLET_COLUMNS, []) == {}
