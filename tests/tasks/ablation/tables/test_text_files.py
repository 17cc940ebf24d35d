import csv
import io

from clipes.tasks.ablation.tables.table import table_of
from clipes.tasks.ablation.tables.text_files import csv_text, markdown


def test_markdown_has_the_table_and_all_comparisons(refinements):
    lines = markdown(table_of(refinements)).splitlines()
    assert lines[0] == "# A table"
    start = lines.index(
        "| variant | refined CAM | +/- | paper | pseudo mask | +/- | paper | boat (refined CAM) |",
    )
    assert lines[start + 1] == "|---|---:|---:|---:|---:|---:|---:|---:|"
    assert lines[start + 3].startswith("| CAA | 43.0 (41.0 to 46.0) | +1.0 | 70.8 |")
    assert [line[:8] for line in lines if line.startswith("- ")] == ["- The or", "- Disagr", *["- Agrees"] * 3]
    assert "The paper says so." in lines


def test_a_bar_in_a_label_does_not_divide_a_cell(result_of):
    result = result_of({"a|b": [{"sharpness": 0.1}]}, show=["sharpness"])
    assert "| a\\|b | 0.1000 |" in markdown(table_of(result))


def test_csv_has_a_line_for_each_variant_and_figure(refinements):
    rows = list(csv.DictReader(io.StringIO(csv_text(table_of(refinements)))))
    assert len(rows) == 6
    assert rows[3] == {
        "variant": "CAA",
        "reference": "false",
        "figure": "refined_cam",
        "unit": "%",
        "mean": "43.0",
        "lowest": "41.0",
        "highest": "46.0",
        "runs": "3",
        "difference": "1.0",
        "paper": "70.8",
        "source": "CLIP-ES, tables 1 and 2",
    }
    assert (rows[0]["reference"], rows[0]["difference"], rows[2]["paper"]) == ("true", "", "")
