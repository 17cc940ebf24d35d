from dataclasses import replace

import pyarrow as pa
import pytest
from support.plain_runs import LengthRow, Lengths, write_artifact

from clipes.tasks.commands.export.request import Exported, ExportRequest, count_exported
from clipes.tasks.commands.output_folder import OutputFolder
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import EVALUATION_FILE, MANIFEST_FILE
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_schemas.tables import MANIFEST_SCHEMA
from clipes.tasks.storage.run_status import RunStatus
from clipes_core.errors import ErrorKind, PhotoError

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
