"""What clipes gc refuses, waits for and keeps while runs and other processes use the store."""

import json
import multiprocessing
import os
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from support.claimers import collect_slowly
from support.mounts import fill, mounted
from support.prepared import prepare_run
from support.stored_garbage import A, artifact, found, recorded_artifacts, run

from clipes.tasks.commands.garbage import DAY, HOUR, find_garbage, remove_garbage
from clipes.tasks.machine.processes import started_at
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.claims import Holder, machine_id, take_claim
from clipes.tasks.storage.files import remove, write_file
from clipes.tasks.storage.layout import claims_uri
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.errors import RunBusyError, StorageError, UsageError


def test_a_run_that_starts_next_to_a_broken_run_json_is_waited_for(local):
    artifact(local, "cams")
    RunFiles(local.uri, "odd").write_bytes("run.json", b"{")
    take_claim(claims_uri(local.uri, "run", "odd"), "run odd", "wait")
    with pytest.raises(RunBusyError, match=r"^run odd is starting \(process \d+ on .*\): try again in a minute"):
        find_garbage(local.uri, HOUR, time.time() + DAY)


def test_young_artifacts_are_not_searched_while_a_run_may_be_running(local):
    """Only their age protects the artifacts of a running run whose name another host has taken over."""
    artifact(local, "cams")
    run(local, state="running")
    with pytest.raises(RunBusyError, match="run voc12 may be running now, on elsewhere: wait until it ends, or give"):
        find_garbage(local.uri, HOUR - 1, time.time())
    assert find_garbage(local.uri, HOUR, time.time()) == {}
    run(local, state="running", host=socket.gethostname(), pid=2**22 + 1, pid_started=0)  # no process has this id
    assert len(find_garbage(local.uri, 0, time.time() + 1)) == 1


def test_a_run_that_starts_while_gc_deletes_waits_and_loses_nothing(tiny, pool):
    for name in "abc":
        tiny.add(name, "cat;dog")
    run = prepare_run(tiny.config(execution={"shards": 2}), "masks")
    recorded_artifacts(run, pool)
    shutil.rmtree(RunFiles(run.store.uri, "tiny").folder)  # nothing uses the artifacts any more
    context = multiprocessing.get_context("spawn")
    deleting, go_on = context.Event(), context.Event()
    collection = context.Process(target=collect_slowly, args=(run.store.uri, deleting, go_on))
    collection.start()
    with ThreadPoolExecutor(1) as thread:
        assert deleting.wait(60)
        second = thread.submit(recorded_artifacts, prepare_run(run.config, "masks"), pool)
        with pytest.raises(TimeoutError):
            second.result(timeout=3)
        assert not RunFiles(run.store.uri, "tiny").find("run.json")
        go_on.set()
        uris = second.result()
    collection.join()
    assert collection.exitcode == 0
    assert all(os.path.exists(uri) for uri in uris)  # noqa: PTH110
    assert find_garbage(run.store.uri, 0, time.time() + DAY) == {}


def test_gc_refuses_while_a_run_has_claimed_its_name_but_not_recorded_its_keys(store):
    artifact(store, "cams")
    run(store, artifacts=[])
    claim = take_claim(claims_uri(store.uri, "run", "voc12"), "run voc12", "wait")
    with pytest.raises(RunBusyError, match=r"^run voc12 is starting \(process \d+ on .+\): try again in a minute$"):
        found(store)
    claim.end()
    assert len(found(store)) == 1


def test_gc_keeps_what_a_started_run_has_recorded(store):
    artifact(store, "cams")
    claim = take_claim(claims_uri(store.uri, "run", "voc12"), "run voc12", "wait")
    run(store, state="running", stage_keys={"cams": A}, claim=claim.number)
    assert found(store) == []


def test_gc_refuses_artifacts_outside_the_store(tmp_path, local):
    """Runs of another store may use them."""
    used = artifact(local, "cams")
    run(local, artifacts=[used])
    other = ArtifactStore(str(tmp_path / "other"))
    run(other, artifacts=[])
    (tmp_path / "other" / "artifacts").symlink_to(tmp_path / "store" / "artifacts")
    message = (
        f"^nothing was deleted: {other.uri}/artifacts is a link to {local.uri}/artifacts, and runs of other stores"
    )
    for search in (find_garbage, remove_garbage):
        with pytest.raises(UsageError, match=message):
            search(other.uri, HOUR, time.time() + DAY)
    assert Path(used).exists()

    (tmp_path / "link").symlink_to("store")  # a link to the whole store is no risk
    assert found(ArtifactStore(str(tmp_path / "link"))) == []


def test_gc_writes_nothing_to_a_folder_without_a_store(tmp_path):
    with pytest.raises(UsageError, match=r"^no artifacts and no runs in "):
        remove_garbage(str(tmp_path / "typo"), HOUR, time.time())
    assert list(tmp_path.iterdir()) == []


def test_gc_on_a_full_disk_names_a_file_that_can_be_deleted(tmp_path):
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=256k", "tmpfs") as place:
        store = ArtifactStore(str(place))
        left, other = artifact(store, "cams"), artifact(store, "texts")
        with Path(left).open("ab") as file:
            file.write(bytes(1 << 14))
        run(store, artifacts=[])
        fill(place)
        message = rf"/claims/gc/000000001\.json: the disk is full .* while no run uses the store, delete {left}, which"
        with pytest.raises(StorageError, match=message):
            remove_garbage(store.uri, HOUR, time.time() + DAY)
        assert len(found(store)) == 2

        Path(left).unlink()
        assert [file.uri for file in remove_garbage(store.uri, HOUR, time.time() + DAY)["texts"]] == [other]


def test_only_one_gc_deletes_at_a_time(store):
    artifact(store, "cams")
    parent = os.getppid()
    holder = Holder(socket.gethostname(), machine_id(), parent, started_at(parent), "another token")
    write_file(f"{claims_uri(store.uri, 'gc')}/000000001.json", json.dumps(asdict(holder)).encode())
    message = rf"^clipes gc is already running \(process {parent} on .+\): wait for it, or stop it$"
    with pytest.raises(RunBusyError, match=message):
        remove_garbage(store.uri, HOUR, time.time() + DAY)
    assert len(found(store)) == 1


def test_gc_stops_deleting_if_it_was_silent_too_long(store, monkeypatch):
    """Another process may have taken over the claim, and runs may have counted artifacts as cached."""
    artifact(store, "cams")
    artifact(store, "masks")
    monkeypatch.setattr("clipes.tasks.storage.claims.STALE_SECONDS", -1.0)

    def remove_and_lose_the_claim(uri):
        remove(uri)
        write_file(f"{claims_uri(store.uri, 'gc')}/000000002.json", b"{}")

    monkeypatch.setattr("clipes.tasks.commands.garbage.remove", remove_and_lose_the_claim)
    with pytest.raises(RunBusyError, match="another process has taken over"):
        remove_garbage(store.uri, HOUR, time.time() + DAY)
    assert len(found(store)) == 1
