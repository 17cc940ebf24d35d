import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.damage import flip
from support.prepared import prepare_ranking, prepare_word_ranking
from support.small_runs import run_files

from clipes.tasks.plan.caching import Reuse
from clipes.tasks.plan.sharding import shard_of
from clipes.tasks.runs.record.recorder import record_run
from clipes.tasks.runs.record.start import start_run
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.errors import ConfigError, StageError, StorageError


def folder_of(run):
    return Path(run_files(run).folder)


def test_run_json_is_written_when_the_run_starts(prepared):
    run = prepared()
    assert start_run(run, 1) == ()

    begun = json.loads((folder_of(run) / "run.json").read_text())

    assert (begun["name"], begun["state"], begun["until"], begun["finished"]) == ("tiny", "running", "masks", None)
    assert (begun["photos"], begun["rejected"], begun["precision"]) == (2, 0, "fp32")
    assert begun["config"] == run.config.model_dump(mode="json")
    assert begun["stage_keys"] == run.keys
    assert begun["model_digest"] == run.inputs.model_digest
    assert begun["versions"]["clipes"] == "0.1.0"
    assert datetime.fromisoformat(begun["started"]).utcoffset().total_seconds() == 0


def test_a_run_does_not_replace_the_files_of_an_ablation(prepared):
    run = prepared()
    start_run(run, 1)
    run_files(run).write_json("run.json", {**run_files(run).read_run(), "ablation": {"grid": "g", "runs": ["tiny-a"]}})
    before = {path.name: path.read_bytes() for path in folder_of(run).iterdir() if path.is_file()}
    with pytest.raises(ConfigError, match=r"^tiny is an ablation, and the run would replace its files: choose"):
        start_run(run, 2)
    assert {path.name: path.read_bytes() for path in folder_of(run).iterdir() if path.is_file()} == before


def test_the_manifest_lists_every_photo_with_its_shard(prepared):
    run = prepared()
    start_run(run, 1)

    rows = {row["image_id"]: row for row in pq.read_table(folder_of(run) / "manifest.parquet").to_pylist()}

    assert {name: row["shard"] for name, row in rows.items()} == {name: shard_of(name, 2) for name in "ad"}
    assert {name: row["class_ids"] for name, row in rows.items()} == {"a": [8, 12], "d": []}
    (photo,) = [photo for photos in run.inputs.shards.values() for photo in photos if photo.image_id == "a"]
    facts = {name: rows["a"][name] for name in ("uri", "size_bytes", "fingerprint", "truth_uri")}
    assert facts == {name: getattr(photo, name) for name in facts}


def test_an_unchanged_config_archives_nothing(prepared):
    start_run(prepared(), 1)
    assert start_run(prepared(), 1) == ()
    assert not (folder_of(prepared()) / "history").exists()


def test_the_number_of_shards_counts_as_changed_only_if_the_user_sets_another_one(prepared):
    start_run(prepared(execution={"shards": 2}), 1)
    assert start_run(prepared(execution={"shards": "auto"}), 1) == ()
    assert start_run(prepared(execution={"shards": 64}), 1) == ()  # there are two photos, so there are two shards
    assert run_files(prepared()).read_run()["shards"] == 2
    assert start_run(prepared(execution={"shards": 1}), 1) == ("execution.shards",)


def test_a_shorter_run_keeps_the_files_of_a_longer_one(prepared):
    with record_run(prepared()):
        pass
    assert start_run(prepared(until="cams"), 1) == ("until",)
    assert len(list((folder_of(prepared()) / "history").iterdir())) == 1


def test_changed_keys_are_returned_and_the_old_files_archived(prepared):
    run = prepared()
    with record_run(run):
        pass
    files = {path.name: path.read_bytes() for path in folder_of(run).iterdir()}

    changed = start_run(prepared(crf={"iter_max": 3}, cam={"scales": [1.0, 0.5], "power": 1}), 1)

    assert changed == ("cam.power", "cam.scales", "crf.iter_max")
    (history,) = (folder_of(run) / "history").iterdir()
    assert history.name == json.loads(files["run.json"])["started"].replace(":", "")
    assert {path.name: path.read_bytes() for path in history.iterdir()} == files
    assert files.keys() == {"run.json", "manifest.parquet", "rejects.parquet", "status.parquet", "metrics.json"}
    left = {path.name for path in folder_of(run).iterdir()}
    assert left == {"run.json", "manifest.parquet", "history"}


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"name": "tiny"}', b"\xff\xfe"])
def test_a_run_with_a_damaged_run_json_starts_again_and_keeps_the_old_files(prepared, caplog, damage):
    run = prepared()
    with record_run(run):
        pass
    run_files(run).write_bytes("run.json", damage)
    files = {path.name: path.read_bytes() for path in folder_of(run).iterdir()}

    assert start_run(run, 1) == ()

    (history,) = (folder_of(run) / "history").iterdir()
    assert {path.name: path.read_bytes() for path in history.iterdir()} == files
    assert run_files(run).read_run()["state"] == "running"
    (message,) = caplog.messages
    assert message.startswith(f"{run_files(run).uri('run.json')} is not ")
    assert message.endswith(f"): clipes rewrites it; the files of that run are now in history/{history.name}")


def test_verify_reports_each_damaged_file_of_the_last_run(prepared, caplog):
    run = prepared()
    with record_run(run):
        run_files(run).write_html("report.html", "<p>good</p>")
    damaged = ("manifest.parquet", "metrics.json", "report.html")
    for name in damaged:
        flip(folder_of(run) / name, 5)

    start_run(replace(run, reuse=Reuse(verify=True)), 1)

    assert sorted(caplog.messages) == [
        f"{run_files(run).uri(name)} cannot be read (it fails its checksum): clipes rewrites it" for name in damaged
    ]


def test_a_failed_rerun_keeps_the_files_of_the_completed_run_in_the_history(prepared, caplog):
    run = prepared()
    with record_run(run):
        run_files(run).write_html("report.html", "<p>good</p>")
    files = {path.name: path.read_bytes() for path in folder_of(run).iterdir()}
    for _ in range(2):  # the second failure does not lose them either
        with caplog.at_level("INFO"), pytest.raises(StageError), record_run(run):
            raise StageError("too many photos failed")

    (history,) = (folder_of(run) / "history").iterdir()
    assert {path.name: path.read_bytes() for path in history.iterdir()} == files
    assert f"the files of the last completed run are in {history}" in caplog.text
    with record_run(run):
        pass
    assert not (folder_of(run) / "history").exists()


def test_an_unusable_store_is_reported_before_any_work(tiny, prepared):
    (tiny.folder / "store").write_text("no folder")
    with pytest.raises(StorageError, match=r"run\.json cannot .*Not a directory.*; a file is where a folder must be"):
        start_run(prepared(), 1)


def test_changed_candidates_archive_the_ranking(tiny, prepared):
    prepared()
    first, same, other = (
        prepare_ranking(tiny.config(), candidates) for candidates in (("a {}.",), ("a {}.",), ("the {}.",))
    )
    with record_run(first):
        run_files(first).write_bytes("prompts.png", b"plot")
    assert start_run(same, 1) == ()
    assert run_files(first).find("prompts.png") is None  # a run first removes the files it will write
    assert start_run(other, 1) == ("candidates",)
    assert run_files(first).read_run()["template"] is None


def test_changed_words_archive_the_ranking(tiny, prepared):
    prepared()
    first, same, other = (prepare_word_ranking(tiny.config(), words) for words in (("tern",), ("tern",), ("fowl",)))
    with record_run(first):
        pass
    run = run_files(first).read_run()
    assert (run["candidates"], run["words"]) == ([], ["tern"])
    assert start_run(same, 1) == ()
    assert start_run(other, 1) == ("words",)


def test_a_run_of_an_older_version_with_fewer_keys_is_not_archived(prepared):
    """A key that this version added does not count as a change while it has its default."""
    run = prepared()
    start_run(run, 1)
    files = RunFiles(run.store.uri, "tiny")
    last = files.read_run()
    del last["config"]["execution"]["runner"]
    del last["config"]["crf"]["backend"]
    files.write_json("run.json", last)

    assert start_run(prepared(), 1) == ()
    assert files.find("history") is None
