import pytest

from clipes.tasks.ablation.files import TABLE_CSV, TABLE_MARKDOWN, write_files
from clipes.tasks.ablation.grid import Grid
from clipes.tasks.ablation.result import AblationResult, VariantResult, VariantRun
from clipes.tasks.storage.layout import REPORT_FILE
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.config.run import check_section


@pytest.fixture
def result() -> AblationResult:
    grid = check_section(Grid, {"name": "mine", "title": "Mine", "variants": {"A": {}}, "show": ["sharpness"]})
    run = VariantRun({}, "demo-mine-a", "/store/runs/demo-mine-a", None, {"sharpness": 0.5})
    return AblationResult(
        grid, "demo-mine", "/store/runs/demo-mine", "six scenes", (VariantResult(*grid.all_variants, (run,)),)
    )


def test_the_table_is_written_in_three_forms(result, tmp_path):
    files = RunFiles(str(tmp_path), "demo-mine")
    uri = write_files(result, files)
    assert uri == files.uri(REPORT_FILE)
    assert "0.5000" in files.read_html(REPORT_FILE)
    folder = tmp_path / "runs" / "demo-mine"
    assert "| A | 0.5000 |" in (folder / TABLE_MARKDOWN).read_text()
    assert "A,true,sharpness,,0.5,0.5,0.5,1" in (folder / TABLE_CSV).read_text()
