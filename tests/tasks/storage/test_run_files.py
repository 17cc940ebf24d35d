import pickle
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from clipes.tasks.storage.run_files import RunFiles, list_runs
from clipes_core.errors import ArtifactError, BrokenArtifactError, StorageError


@pytest.fixture
def files(place):
    """Return the files of a run in a store on each kind of file system."""
    return RunFiles(place, "my run")


def names(files):
    """Return the names of all files of a store, including temporary ones."""
    fs, folder = fsspec.core.url_to_fs(files.store_uri)
    return sorted(path.rpartition("/")[2] for path in fs.find(folder))


def test_written_files_can_be_read(files):
    value = {"name": "läuf", "keys": [1, None, 0.5], "nested": {"ä": True}}
    table = pa.table({"image_id": ["ä", "b"], "class_ids": [[1], []]})

    files.write_json("run.json", value)
    files.write_table("status.parquet", table)

    assert files.read_json("run.json") == value
    assert files.read_table("status.parquet").to_pydict() == table.to_pydict()
    assert names(files) == ["run.json", "status.parquet"]
    assert list_runs(files.store_uri) == ["my run"]


def test_text_is_written_in_utf_8_and_replaces_the_old_text(files):
    files.write_text("report.html", "alt")
    files.write_text("report.html", "neu: ä\n")
    fs, path = fsspec.core.url_to_fs(files.uri("report.html"))
    assert fs.cat_file(path) == "neu: ä\n".encode()
    assert names(files) == ["report.html"]


def test_run_json_is_readable_text(files):
    files.write_json("run.json", {"name": "läuf"})
    fs, path = fsspec.core.url_to_fs(files.uri("run.json"))
    assert fs.cat_file(path).decode() == '{\n  "name": "läuf"\n}\n'


def test_a_value_that_json_cannot_represent_leaves_the_old_file(files):
    files.write_json("metrics.json", {"miou": 0.5})

    with pytest.raises(ValueError, match="nan"):
        files.write_json("metrics.json", {"miou": float("nan")})

    assert files.read_json("metrics.json") == {"miou": 0.5}
    assert names(files) == ["metrics.json"]


def test_a_run_without_files_has_no_run_json(files):
    assert files.read_json("run.json") is None
    assert files.find("run.json") is None
    assert list_runs(files.store_uri) == []


def test_a_truncated_run_json_is_an_error(files):
    files.write_json("run.json", {})
    fs, path = fsspec.core.url_to_fs(files.uri("run.json"))
    fs.pipe_file(path, b'{"name": "a')

    with pytest.raises(ArtifactError, match=r"run\.json is not JSON \(.*\): delete this file and run again"):
        files.read_json("run.json")


def test_archived_files_are_moved_to_the_history_of_the_run(files):
    for file in ("run.json", "metrics.json"):
        files.write_json(file, {"file": file})

    files.archive("2026-11-22", ["run.json", "metrics.json", "status.parquet"])

    assert files.find("run.json") is None
    assert files.read_json("history/2026-11-22/metrics.json") == {"file": "metrics.json"}
    assert names(files) == ["metrics.json", "run.json"]
    assert list_runs(files.store_uri) == ["my run"]


def test_a_folder_in_place_of_a_file_is_an_error_and_leaves_no_file(tmp_path):
    files = RunFiles(str(tmp_path), "my run")
    Path(files.uri("run.json")).mkdir(parents=True)

    with pytest.raises(StorageError, match="cannot be used"):
        files.write_json("run.json", {})
    assert names(files) == []


def test_any_other_file_of_a_run_can_be_written(files):
    files.write_bytes("plot.png", b"\x89PNG")
    fs, path = fsspec.url_to_fs(files.uri("plot.png"))
    assert fs.cat_file(path) == b"\x89PNG"
    assert [Path(name).name for name in fs.ls(path.rpartition("/")[0], detail=False)] == ["plot.png"]


def test_rows_of_a_table_are_read_or_reported_missing(files):
    files.write_table("rejects.parquet", pa.table({"image_id": ["a", "b"], "kind": ["x", "y"]}))
    assert list(files.read_rows("rejects.parquet", ["kind"])) == [{"kind": "x"}, {"kind": "y"}]
    with pytest.raises(BrokenArtifactError, match=r"my run/status\.parquet is missing"):
        files.read_table("status.parquet")


def test_removed_files_no_longer_exist(files):
    files.write_text("a", "1")
    files.write_text("b", "2")
    files.remove(["a", "c"])
    assert names(files) == ["b"]


def test_run_files_can_be_sent_to_another_process(files):
    files.write_json("run.json", {"name": "my run"})
    assert pickle.loads(pickle.dumps(files)).read_json("run.json") == {"name": "my run"}


def test_a_store_below_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    files = RunFiles(str(tmp_path / "file" / "store"), "a")

    told = r"run\.json cannot be used \(.*Not a directory.*\); repair it or choose another location"
    with pytest.raises(StorageError, match=told):
        files.read_json("run.json")
    with pytest.raises(StorageError, match=told):
        files.write_json("run.json", {})
