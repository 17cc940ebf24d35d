import numpy as np
import pytest

from clipes.tasks.stages.columns.confusions import TRIPLET_COLUMNS, cell_columns, photo_miou, sparse_cells


def test_the_score_of_a_photo_is_over_the_classes_of_its_truth():
    row = dict(zip(TRIPLET_COLUMNS, ([0, 1, 1], [0, 0, 1], [6, 2, 4]), strict=True))
    assert photo_miou(row, 3) == pytest.approx((6 / 8 + 4 / 6) / 2)
    assert np.isnan(photo_miou({name: [] for name in TRIPLET_COLUMNS}, 3))


def test_nonzero_cells_are_listed_row_by_row():
    assert list(sparse_cells(np.array([[3, 0], [1, 2]]))) == [(0, 0, 3), (1, 0, 1), (1, 1, 2)]


def test_cells_become_one_column_per_field():
    cells = [(0, 0, 6), (1, 0, 2)]
    assert cell_columns(TRIPLET_COLUMNS, iter(cells)) == {"truth": (0, 1), "prediction": (0, 0), "pixels": (6, 2)}
    assert cell_columns(TRIPLET_COLUMNS, []) == {}
