import csv

import numpy as np
import pytest
from support.exported_runs import write_masks_run

from clipes.tasks.storage.run_files import RunFiles
from clipes_core.errors import ArtifactError

GOOD = np.zeros((20, 20), np.uint8)
GOOD[5:12, 5:12] = 1
FULL, TINY = np.ones((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
TINY[0, 0] = 2


@pytest.fixture
def run(tmp_path):
    return write_masks_run(tmp_path, {"good": GOOD, "b/full": FULL, "tiny": TINY, "fine": GOOD})


@pytest.mark.parametrize("format_name", ["voc", "ids", "coco", "yolo", "cvat", "labelstudio", "hf"])
def test_only_the_photos_to_check_are_exported_with_their_reasons(run, tmp_path, format_name):
    exported = run.export(format_name, tmp_path / "out", only="to-check", photos=True)

    assert (exported.written, exported.left_out, exported.unmade) == (2, 0, 0)
    with (tmp_path / "out" / "to-check.csv").open(newline="") as file:
        rows = {row["image_id"]: row for row in csv.DictReader(file)}
    assert {image_id: row["reasons"] for image_id, row in rows.items()} == {
        "b/full": "large_foreground",
        "tiny": "small_foreground",
    }
    assert all(row["text"] and float(row["severity"]) > 0 for row in rows.values())
    listed = (tmp_path / "out" / "SHA256SUMS").read_text()
    assert "good" not in listed
    assert "to-check.csv" in listed


def test_an_artifact_that_cannot_be_read_is_reported(run, tmp_path):
    artifact = RunFiles(run.store, run.name).read_status()[0]["artifact"]
    with open(artifact, "r+b") as file:  # noqa: PTH123
        file.truncate(100)
    with pytest.raises(ArtifactError, match="masks"):
        run.export("ids", tmp_path / "out", only="to-check")
    assert not (tmp_path / "out").exists()
