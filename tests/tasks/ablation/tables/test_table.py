import pytest

from clipes.tasks.ablation.tables.table import table_of
from clipes.tasks.ablation.tables.wording import explanations


def test_cells_hold_percent_the_paper_and_the_mean_difference_over_the_seeds(refinements):
    table = table_of(refinements)
    mhsa, caa = table.rows
    assert [row.label for row in table.rows] == ["MHSA", "CAA"]
    assert caa.cells[0].values == pytest.approx((42, 41, 46))
    assert caa.cells[0].mean == pytest.approx(43)
    assert caa.cells[0].difference == pytest.approx(1)  # +2, -1 and +2
    assert (caa.cells[0].paper, mhsa.cells[1].paper, caa.cells[2].paper) == (70.8, 72.1, None)
    assert mhsa.is_reference
    assert mhsa.cells[0].difference is None
    assert (table.reference, table.repeats, table.published_on) == ("MHSA", 3, "voc12 train")


def test_a_figure_that_no_run_has_is_left_out_and_named(refinements):
    table = table_of(refinements)
    assert [column.figure for column in table.columns] == ["refined_cam", "pseudo_mask", "refined_cam.boat"]
    assert table.absent == ("train (refined CAM)",)


def test_only_seeds_that_both_variants_have_are_compared(result_of):
    half, most = {"initial_cam": {"miou": 0.5}}, {"initial_cam": {"miou": 0.7}}
    table = table_of(
        result_of({"A": [half, "out of memory", most], "B": [most, half, "no photo"]}, show=["initial_cam"])
    )
    (first,), (second,) = (row.cells for row in table.rows)
    assert first.values == pytest.approx((50, 70))
    assert second.difference == pytest.approx(20)


def test_without_the_reference_there_are_no_differences(result_of):
    result = result_of({"A": [{"sharpness": 0.1}], "B": [{"sharpness": 0.2}]}, show=["sharpness"], reference="B")
    table = table_of(type(result)(result.grid, result.name, result.uri, result.data, result.variants[:1]))
    assert table.reference == ""
    assert explanations(table) == ['Variants of the grid without a run so far: "B".']
    assert not table.differs(0)
    assert table.rows[0].cells[0].difference is None


def test_a_variant_that_lacks_the_last_seeds_has_a_row_already(result_of):
    half, most = {"initial_cam": {"miou": 0.5}}, {"initial_cam": {"miou": 0.7}}
    table = table_of(result_of({"A": [half, half], "B": [most]}, show=["initial_cam"]))
    assert table.rows[1].cells[0].difference == pytest.approx(20)
