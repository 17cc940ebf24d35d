from dataclasses import replace

import pyarrow as pa
import pytest
from support.plain_runs import LengthRow, Lengths, write_artifact

from clipes.tasks.commands.export.run_masks import (
    Exported,
    ExportRequest,
    count_exported,
    export_pngs,
    read_good_rows,
)
from clipes.tasks.commands.output_folder import OutputFolder
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import EVALUATION_FILE, MANIFEST_FILE
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_schemas import MANIFEST_SCHEMA
from clipes.tasks.storage.run_status import RunStatus
from clipes_core.errors import ArtifactError, ErrorKind, PhotoError, StageError

GONE = PhotoError(ErrorKind.MISSING, "gone")


@pytest.fixture
def request_of(tmp_path):
    """Return a function that requests the export of a run with the given shard records."""

    def request_of(*records):
        shards = [{"stage": each.stage, "shard": each.shard, "artifact": each.uri} for each in records]
        status = RunStatus({"name": "plain"}, shards, None, 0, interrupted=False)
        return ExportRequest(status, ArtifactStore(str(tmp_path)), OutputFolder(str(tmp_path / "out")), 0.0)

    return request_of


def artifact(folder, *rows, shard=0):
    return write_artifact(str(folder), Lengths(), rows, shard)


def test_rows_with_a_result_are_read_from_all_shards(request_of, tmp_path):
    first = artifact(tmp_path, LengthRow(image_id="ab", length=2), LengthRow.failed("cd", GONE))
    second = artifact(tmp_path, LengthRow(image_id="efg", length=3), shard=1)

    rows = list(read_good_rows(request_of(first, second), "lengths", ("length",), "lengths"))

    assert rows == [
        {"image_id": "ab", "status": "ok", "length": 2},
        {"image_id": "efg", "status": "ok", "length": 3},
    ]


def test_a_stage_without_artifacts_is_an_error_before_any_row_is_read(request_of, tmp_path):
    record = artifact(tmp_path, LengthRow(image_id="ab", length=2))
    for request in (request_of(), request_of(record)):
        with pytest.raises(StageError, match=r"^run plain has no masks yet: run it up to the stage masks first$"):
            read_good_rows(request, "masks", (), "masks")


def test_an_artifact_that_cannot_be_read_is_an_error(request_of, tmp_path):
    record = artifact(tmp_path, LengthRow(image_id="ab", length=2))
    with pytest.raises(ArtifactError, match=r"lacks the columns \['mask_png'\]"):
        list(read_good_rows(request_of(record), "lengths", ("mask_png",), "lengths"))


def export_lengths(request, folder=""):
    return export_pngs(request, "lengths", ("length",), "lengths", lambda row: b"%d" % row["length"], folder=folder)


def test_files_are_named_after_photos_and_counted(request_of, tmp_path):
    rows = [LengthRow(image_id="a", length=1), LengthRow(image_id="cats/b", length=2), LengthRow.failed("c", GONE)]
    assert export_lengths(request_of(artifact(tmp_path, *rows)), folder="x") == 2
    assert {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*.png")} == {
        "out/x/a.png": b"1",
        "out/x/cats/b.png": b"2",
    }


@pytest.mark.parametrize(("file", "rejected"), [(MANIFEST_FILE, 4), (EVALUATION_FILE, 1)])
@pytest.mark.parametrize("interrupted", [False, True])
def test_photos_without_a_mask_are_counted(request_of, tmp_path, file, rejected, interrupted):
    rows = [LengthRow(image_id="a", length=1), LengthRow.failed("c", GONE)]
    request = request_of(artifact(tmp_path, *rows))
    run = {"name": "plain", "state": "completed", "rejected": 5, "evaluation_rejected": 1}
    listed = [{"image_id": name, "shard": shard} for name, shard in (("a", 0), ("c", 0), ("d", 1), ("e", 1))]
    table = pa.Table.from_pylist(listed, schema=MANIFEST_SCHEMA)
    RunFiles(str(tmp_path), "plain").write_table(file, table)
    status = replace(request.run, run=run, interrupted=interrupted)

    counted = count_exported(replace(request, run=status), "lengths", file, written=1)

    state = "interrupted" if interrupted else "completed"
    assert counted == Exported(written=1, left_out=rejected + 1, unmade=2, state=state)


@pytest.mark.parametrize("image_id", ["../a", "/a", "b/../../a", "", "a\0b"])
def test_an_id_that_points_outside_the_folder_is_refused(request_of, tmp_path, image_id):
    record = artifact(tmp_path, LengthRow(image_id="a", length=1), LengthRow(image_id=image_id, length=1))
    with pytest.raises(PhotoError, match=r"is not a path below the data set's root|the path is empty"):
        export_lengths(request_of(record))
    assert list(tmp_path.rglob("*.png")) == []
