"""Claims of names in a store: one process at a time, on the local disk and on S3."""

import errno
import json
import multiprocessing
import os
import socket
import threading
import time
import uuid
from dataclasses import asdict
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from fsspec.implementations.memory import MemoryFileSystem
from support.claimers import claim_in_rounds

from clipes.tasks.machine.processes import started_at
from clipes.tasks.storage import claims
from clipes.tasks.storage.claims import Claim, Holder, claim_holder, claimed, machine_id, take_claim
from clipes.tasks.storage.files import create_file, read_file, write_file
from clipes.tasks.storage.listing import list_names
from clipes_core.errors import ArtifactError, RunBusyError

ROUNDS = 50


def client_error(code, status):
    """Return the error of s3fs for an answer of S3."""
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = OSError(errno.EINVAL, code)
    error.__cause__ = ClientError(answer, "PutObject")
    return error


@pytest.fixture(params=["local", "memory", "s3"])
def folder(request, tmp_path):
    """Return a folder for the claims of a name."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_folder')}/claims/run/voc"
    return str(tmp_path / "claims") if request.param == "local" else f"memory://{uuid.uuid4()}/claims"


def write_claim(folder, number=1, **values):
    """Write the file of a claim of another process on this machine, which lives: the parent of this one."""
    parent = os.getppid()
    holder = Holder(socket.gethostname(), machine_id(), parent, started_at(parent), "another token")
    write_file(f"{folder}/{number:09d}.json", json.dumps({**asdict(holder), **values}).encode())


def dead_process():
    process = multiprocessing.get_context("spawn").Process(target=str)
    process.start()
    process.join()
    return {"pid": process.pid, "pid_started": time.time()}


def test_a_file_is_created_only_once(folder):
    assert create_file(f"{folder}/a", b"first")
    assert not create_file(f"{folder}/a", b"second")
    assert read_file(f"{folder}/a") == b"first"


def test_a_disk_without_hard_links_creates_files_exclusively_too(tmp_path, monkeypatch):
    def no_hard_links(path, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_hard_links)
    assert create_file(str(tmp_path / "a"), b"first")
    assert not create_file(str(tmp_path / "a"), b"second")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


@pytest.mark.parametrize(
    ("failure", "created"),
    [
        (client_error("PreconditionFailed", 412), False),
        (client_error("ConditionalRequestConflict", 409), False),
        (client_error("NotImplemented", 501), True),
        (TypeError("pipe_file() got an unexpected keyword argument 'mode'"), True),
    ],
    ids=str,
)
def test_the_answers_of_stores_to_a_conditional_put(monkeypatch, failure, created):
    """A store that has no such request is asked whether the file exists."""
    uri = f"memory://{uuid.uuid4()}/a"

    def refuse(fs, path, value, mode="overwrite", **options):
        raise failure

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", refuse)
    assert create_file(uri, b"first") is created
    if created:
        assert not create_file(uri, b"second")
        assert read_file(uri) == b"first"


def test_a_name_is_claimed_until_the_claim_ends(folder):
    assert claim_holder(folder) is None
    with claimed(folder, "run x", "wait") as claim:
        holder, number = claim_holder(folder)
        assert (holder.host, holder.pid, holder.is_own, number) == (socket.gethostname(), os.getpid(), True, 1)
        claim.renew()
        assert claim_holder(folder) == (holder, 1)
    assert claim_holder(folder) is None
    assert take_claim(folder, "run x", "wait").number == 2


def test_a_claim_is_renewed_in_the_background(folder, monkeypatch):
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.05)
    renewed = threading.Event()
    monkeypatch.setattr(Claim, "renew", lambda claim: renewed.set())
    with claimed(folder, "run x", "wait"):
        assert renewed.wait(60)


def test_a_claim_ends_if_the_block_fails(folder):
    with pytest.raises(KeyboardInterrupt), claimed(folder, "run x", "wait"):
        raise KeyboardInterrupt
    assert claim_holder(folder) is None


@pytest.mark.parametrize("place", ["local", "s3"])
def test_of_two_processes_that_claim_a_name_at_once_exactly_one_succeeds(place, tmp_path, request):
    store = str(tmp_path) if place == "local" else request.getfixturevalue("s3_folder")
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=claim_in_rounds, args=(store, ROUNDS, start, results)) for _ in range(2)]
    for process in processes:
        process.start()
    admitted = [results.get(timeout=100) for _ in processes]
    for process in processes:
        process.join()
    assert [sum(of_round) for of_round in zip(*admitted, strict=True)] == [1] * ROUNDS


def test_the_claim_of_a_dead_process_can_be_taken(folder):
    write_claim(folder, **dead_process())
    assert take_claim(folder, "run x", "wait").number == 2


def test_the_claim_of_a_live_process_on_this_machine_cannot_be_taken(folder):
    write_claim(folder)
    message = rf"^run x is already running \(process {os.getppid()} on .+\): wait$"
    with pytest.raises(RunBusyError, match=message):
        take_claim(folder, "run x", "wait")


def test_the_claim_of_another_machine_ends_if_it_is_not_renewed(folder, monkeypatch):
    write_claim(folder, machine="another", **dead_process())
    with pytest.raises(RunBusyError):
        take_claim(folder, "run x", "wait")
    monkeypatch.setattr(claims, "SILENT_SECONDS", -5.0)
    assert take_claim(folder, "run x", "wait").number == 2


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
def test_the_clock_of_this_host_does_not_end_the_claim_of_another_machine(folder, monkeypatch, ahead):
    here = time.time
    monkeypatch.setattr(claims.time, "time", lambda: here() + ahead)
    write_claim(folder, machine="another", **dead_process())
    with pytest.raises(RunBusyError):
        take_claim(folder, "run x", "wait")
    monkeypatch.setattr(claims, "SILENT_SECONDS", -5.0)
    assert take_claim(folder, "run x", "wait").number == 2
    assert list_names(folder) == ["000000002.json"]


def test_another_process_with_the_same_id_in_another_container_is_not_this_one(folder):
    """Two containers can have the same host name, and their first processes the same id."""
    write_claim(folder, machine="another", pid=os.getpid(), pid_started=started_at(os.getpid()))
    with pytest.raises(RunBusyError):
        take_claim(folder, "run x", "wait")


@pytest.mark.parametrize("late", [2, 3])
def test_a_slow_process_gets_no_name_that_was_claimed_meanwhile(folder, monkeypatch, late):
    """It creates a lower number, which the others have removed, or the highest one, which still exists."""
    write_claim(folder, number=3)
    listed = iter([late - 1])
    real = claims._last_number
    monkeypatch.setattr(claims, "_last_number", lambda folder: next(listed, None) or real(folder))
    with pytest.raises(RunBusyError):
        take_claim(folder, "run x", "wait")
    assert claim_holder(folder)[1] == 3


def test_a_process_that_comes_back_does_not_take_its_name_back(folder):
    late = take_claim(folder, "run x", "wait")
    write_claim(folder, number=2)
    for renew in (late.renew, late.check):
        with pytest.raises(RunBusyError, match="another process has taken over"):
            renew()
    late.end()
    assert claim_holder(folder)[1] == 2


@pytest.mark.parametrize("content", [b"", b"[]", b'{"host": 1}', b"\xff"])
def test_a_damaged_claim_is_reported_with_its_file(folder, content):
    write_file(f"{folder}/000000001.json", content)
    with pytest.raises(ArtifactError, match=r"/000000001\.json is damaged \(.*\): delete it if no run and no gc"):
        take_claim(folder, "run x", "wait")


def test_files_that_are_no_claims_are_ignored(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "x.json").write_text("mine")
    assert take_claim(str(tmp_path), "run x", "wait").number == 1
    assert Path(tmp_path / "notes.txt").read_text() == "mine"
