import json
from pathlib import Path

from clipes.tasks.storage.files import read_file
from clipes.tasks.storage.listing import list_paths_below
from clipes.tasks.storage.run_files import RunFiles, list_runs
from clipes.tasks.storage.run_history import archive, remove_archive


def test_archived_files_are_moved_to_the_history_of_the_run_but_run_json_is_copied(files):
    for file in ("run.json", "metrics.json"):
        files.write_json(file, {"file": file})

    archive(files, "2026-11-22", ["run.json", "metrics.json", "status.parquet"])

    assert json.loads(read_file(files.uri("history/2026-11-22/metrics.json")))["file"] == "metrics.json"
    assert read_file(files.uri("history/2026-11-22/run.json")) == read_file(files.uri("run.json"))
    assert list_paths_below(files.folder) == [
        "history/2026-11-22/metrics.json",
        "history/2026-11-22/run.json",
        "run.json",
    ]
    assert list_runs(files.store_uri) == ["my run"]


def test_the_history_loses_only_the_named_files(files):
    files.write_json("run.json", {})
    files.write_bytes("metrics.json", b"")
    folder = archive(files, "2026-11-22", ["run.json", "metrics.json"])
    mine = [f"{folder}/notes.txt", f"{folder}/plots/a.png", "history/notes.txt"]
    for file in mine:
        files.write_bytes(file, b"mine")

    remove_archive(files, folder, ["run.json", "metrics.json", "status.parquet"])

    assert list_paths_below(files.folder) == sorted([*mine, "run.json"])
    files.remove(mine)
    remove_archive(files, folder, ["run.json"])


def test_an_empty_history_is_removed(tmp_path):
    files = RunFiles(str(tmp_path), "my run")
    files.write_json("run.json", {})
    remove_archive(files, archive(files, "2026-11-22", ["run.json"]), ["run.json"])
    assert [path.name for path in Path(files.folder).iterdir()] == ["run.json"]
