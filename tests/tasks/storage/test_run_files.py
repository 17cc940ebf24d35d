import json
import pickle
import re
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from support.run_contents import RUN, SCORES

from clipes.tasks.storage import run_files
from clipes.tasks.storage.parquet.footer import read_footer
from clipes.tasks.storage.run_files import RunFiles, list_runs
from clipes.tasks.storage.run_schemas.tables import MANIFEST_SCHEMA, STATUS_SCHEMA
from clipes_core.errors import ArtifactError, BrokenArtifactError, StorageError


def content(files, file):
    fs, path = fsspec.core.url_to_fs(files.uri(file))
    return fs.cat_file(path)


def write(files, file, value):
    """Write a JSON file without a seal, as earlier versions of clipes did."""
    fs, path = fsspec.core.url_to_fs(files.uri(file))
    fs.makedirs(path.rpartition("/")[0], exist_ok=True)
    fs.pipe_file(path, json.dumps(value).encode())


def names(files):
    """Return the names of all files of a store, including temporary ones."""
    fs, folder = fsspec.core.url_to_fs(files.store_uri)
    return sorted(path.rpartition("/")[2] for path in fs.find(folder))


def test_written_files_can_be_read(files):
    value = {**RUN, "name": "läuf", "nested": {"ä": [True, None, 0.5]}}
    metrics = {"prompts": {"template": "a {}.", "sharpness": 0.5, "templates": 2}, "pseudo_mask": SCORES}
    table = pa.table({"image_id": ["ä", "b"], "class_ids": [[1], []]})

    files.write_json("run.json", value)
    files.write_json("metrics.json", metrics)
    files.write_table("table.parquet", table)

    assert (files.read_run(), files.read_metrics()) == (value, metrics)
    assert files.read_table("table.parquet").to_pydict() == table.to_pydict()
    assert names(files) == ["metrics.json", "run.json", "table.parquet"]
    assert list_runs(files.store_uri) == ["my run"]


def test_a_page_is_written_in_utf_8_with_a_seal_and_replaces_the_old_page(files):
    files.write_html("report.html", "alt")
    files.write_html("report.html", "neu: ä\n")
    assert re.fullmatch("neu: ä\n<!-- clipes-sha256:[0-9a-f]{64} -->\n", content(files, "report.html").decode())
    files.check("report.html")
    assert names(files) == ["report.html"]


def test_a_page_is_read_unless_it_is_missing_or_damaged(files):
    with pytest.raises(BrokenArtifactError, match=r"report\.html is missing: run again"):
        files.read_html("report.html")
    files.write_html("report.html", "neu: ä\n")
    assert files.read_html("report.html").encode() == content(files, "report.html")
    files.write_bytes("report.html", content(files, "report.html").replace(b"neu", b"alt"))
    with pytest.raises(BrokenArtifactError, match=r"report\.html cannot be read \(it fails its checksum\): run again"):
        files.read_html("report.html")
    files.write_bytes("report.html", b"\xff")  # without a seal, as earlier versions of clipes wrote it
    assert files.read_html("report.html") == "\ufffd"


def test_run_json_is_readable_text(files):
    files.write_json("run.json", {"name": "läuf"})
    start, seal = '{\n  "name": "läuf",\n  "seal": "clipes-sha256:', '[0-9a-f]{64}"\n}\n'
    assert re.fullmatch(re.escape(start) + seal, content(files, "run.json").decode())


def test_a_value_that_json_cannot_represent_leaves_the_old_file(files):
    files.write_json("metrics.json", {"pseudo_mask": SCORES})

    with pytest.raises(ValueError, match="nan"):
        files.write_json("metrics.json", {"pseudo_mask": {**SCORES, "miou": float("nan")}})

    assert files.read_metrics() == {"pseudo_mask": SCORES}
    assert names(files) == ["metrics.json"]


def test_a_run_without_files_has_no_run_json(files):
    assert files.read_run() is None
    assert files.find("run.json") is None
    assert list_runs(files.store_uri) == []


def test_a_truncated_run_json_is_an_error(files):
    files.write_json("run.json", {})
    fs, path = fsspec.core.url_to_fs(files.uri("run.json"))
    fs.pipe_file(path, b'{"name": "a')

    with pytest.raises(ArtifactError, match=r"run\.json is not JSON \(.*\): run again; clipes will rebuild it"):
        files.read_run()


@pytest.mark.parametrize("file", ["run.json", "metrics.json", "report.html", "status.parquet"])
def test_a_flipped_bit_in_any_byte_is_found_or_harmless(files, file):
    metrics = {"pseudo_mask": SCORES}
    files.write_json("run.json", RUN)
    files.write_json("metrics.json", metrics)
    files.write_html("report.html", "<p>ä</p>")
    files.write_table("status.parquet", pa.table({"stage": ["masks"]}))
    whole, fs, path = content(files, file), *fsspec.core.url_to_fs(files.uri(file))
    mark = whole.index(b"clipes-sha256:")
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        fs.pipe_file(path, bytes(damaged))
        if mark <= position < mark + 14:  # without its seal, the file counts as a file of an earlier version
            continue
        with pytest.raises(BrokenArtifactError, match=re.escape(f"{files.uri(file)} cannot be read (")):
            files.check(file)
        reads = {"run.json": files.read_run, "metrics.json": files.read_metrics}
        with pytest.raises(ArtifactError):
            reads.get(file, lambda: files.check(file))()


READERS = {
    "run.json": [RunFiles.read_run, lambda files: files.check("run.json")],
    "metrics.json": [
        RunFiles.read_metrics,
        lambda files: files.seal("metrics.json"),
        lambda files: files.origin("metrics.json"),
    ],
    "status.parquet": [
        RunFiles.read_status,
        lambda files: list(files.read_rows("status.parquet")),
        lambda files: files.seal("status.parquet"),
        lambda files: files.origin("status.parquet"),
        lambda files: files.check("status.parquet"),
    ],
    "manifest.parquet": [lambda files: list(files.input_uris())],
}


def test_the_status_of_a_run_of_an_earlier_version_has_no_workers_and_reasons(files):
    values = ("cams", 0, "completed", 3, 0, 1.5, 1, "", "first/cpu:7", "out of memory")
    row = dict(zip(STATUS_SCHEMA.names, values, strict=True))
    table = pa.Table.from_pylist([row], schema=STATUS_SCHEMA)
    files.write_table("status.parquet", table)
    assert files.read_status() == [row]
    files.write_table("status.parquet", table.drop_columns(["worker", "reason"]))
    assert files.read_status() == [{**row, "worker": None, "reason": None}]
    files.write_table("status.parquet", table.drop_columns(["seconds"]))
    with pytest.raises(BrokenArtifactError, match="has no column seconds of type double"):
        files.read_status()


@pytest.mark.parametrize(("file", "read"), [(file, read) for file, reads in READERS.items() for read in reads])
def test_the_advice_for_a_damaged_file_is_to_run_again_and_not_to_delete_it(files, file, read):
    files.write_json("run.json", RUN)
    files.write_json("metrics.json", {"pseudo_mask": SCORES})
    for table, schema in {"status.parquet": STATUS_SCHEMA, "manifest.parquet": MANIFEST_SCHEMA}.items():
        files.write_table(table, schema.empty_table())
    read(files)
    damaged = bytearray(content(files, file))
    damaged[-20] ^= 1
    files.write_bytes(file, bytes(damaged))
    with pytest.raises(BrokenArtifactError) as caught:
        read(files)
    broken = caught.value
    assert (broken.uri, broken.advice) == (files.uri(file), "run again")


@pytest.mark.parametrize(
    "changed",
    [
        {"state": None},
        {"started": "yesterday"},
        {"started": "../.."},
        {"pid": "12"},
        {"photos": 1.5},
        {"config": []},
        {"stage_keys": {"masks": 1}},
        {"versions": "1.0"},
        {"versions": {}},
        {"started": "2026-01-01"},
        {"previous": ""},
        {"previous": "../other"},
        {"previous": "/elsewhere"},
        {"previous": "history/.."},
        {"previous": "history/2026/.."},
    ],
    ids=str,
)
def test_a_run_json_of_another_shape_is_an_error_that_names_the_entry(files, changed):
    write(files, "run.json", {**RUN, **changed})
    (name,) = changed
    with pytest.raises(ArtifactError, match=rf"run\.json is not the file that clipes wrote \({name}.*\): run again"):
        files.read_run()


@pytest.mark.parametrize("value", [None, [], "text", 3, {}, {**RUN, "host": 3}])
def test_json_that_is_not_a_run_is_an_error(files, value):
    write(files, "run.json", value)
    with pytest.raises(ArtifactError, match="is not the file that clipes wrote"):
        files.read_run()


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"pseudo_mask": {}},
        {"stages": []},
        {"stages": {"masks": {"images": "3"}}},
        {"warnings": "text"},
        {"warnings": [3]},
        {"prompts": {"template": "a {}."}},
    ],
)
def test_metrics_of_another_shape_are_an_error(files, value):
    write(files, "metrics.json", value)
    with pytest.raises(ArtifactError, match=r"metrics\.json is not the file that clipes wrote"):
        files.read_metrics()


def test_files_of_an_earlier_version_have_no_seal_and_are_read(files):
    write(files, "run.json", RUN)
    assert files.read_run() == RUN
    files.check("run.json")
    files.check("metrics.json")


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


def test_a_table_that_its_run_replaces_while_it_is_being_read_is_read_again(files, monkeypatch):
    replacements = [["c", "d", "e"]]

    def read_footer_and_replace(uri):
        footer = read_footer(uri)
        if replacements:
            files.write_table("rejects.parquet", pa.table({"image_id": replacements.pop()}))
        return footer

    files.write_table("rejects.parquet", pa.table({"image_id": ["a", "b"]}))
    monkeypatch.setattr(run_files, "read_footer", read_footer_and_replace)
    assert files.read_table("rejects.parquet", ["image_id"])["image_id"].to_pylist() == ["c", "d", "e"]


def test_removed_files_no_longer_exist(files):
    files.write_bytes("a", b"1")
    files.write_bytes("b", b"2")
    files.remove(["a", "c"])
    assert names(files) == ["b"]


def test_run_files_can_be_sent_to_another_process(files):
    files.write_json("run.json", RUN)
    assert pickle.loads(pickle.dumps(files)).read_run() == RUN


def test_a_store_below_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    files = RunFiles(str(tmp_path / "file" / "store"), "a")

    told = (
        r"run\.json cannot be used \(.*Not a directory.*\); a file is where a folder must be: move it or choose another"
    )
    with pytest.raises(StorageError, match=told):
        files.read_run()
    with pytest.raises(StorageError, match=told):
        files.write_json("run.json", {})
