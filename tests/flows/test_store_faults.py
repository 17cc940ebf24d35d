"""Stores that fill up, can only be read, or die in the middle of a run: nothing that was done is lost."""

import json
import os
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import fsspec
import psutil
import pytest

from tasks.artifact_store import ArtifactStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SHARDS, PHOTOS = 6, 12
SHARDED = ("cams", "masks", "mask_scores")
RESUME = "What is done is kept. To resume: clipes run "


@pytest.fixture(scope="module")
def arguments(tmp_path_factory, configs, real_data, golden):
    """`clipes run` on some real photos, without the CRF: a second of work in each stage."""
    ids = (real_data / "ImageSets" / "Segmentation" / "train.txt").read_text().split()[:PHOTOS]
    split = tmp_path_factory.mktemp("split") / "some.txt"
    split.write_text("\n".join(ids) + "\n")
    return (
        *("run", str(configs / "voc12.yaml")),
        *("--set", f"dataset.root={real_data}", "--set", f"dataset.split={split}"),
        *("--set", f"clip.pretrained={golden / 'small_vit.pt'}", "--set", "crf.enabled=false"),
        *("--set", f"execution.shards={SHARDS}"),
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, clipes_in, arguments):
    """The store of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = clipes_in(folder)(*arguments, "--store", str(folder))
    assert done.returncode == 0, done.stderr
    return str(folder)


def files_of(store):
    """Path below the store -> size, temporary files too."""
    fs, folder = fsspec.url_to_fs(store, use_listings_cache=False)
    found = fs.find(folder, detail=True)
    return {path.removeprefix(folder).lstrip("/"): entry["size"] for path, entry in found.items()}


def artifacts(store, *stages):
    return {path for path in files_of(store) if path.split("/")[1:2] and path.split("/")[1] in (stages or SHARDED)}


def rows(store):
    """Path below the store, which holds the digest of what the rows are made of -> rows of a photos' artifact."""
    return {path: ArtifactStore(store).read(f"{store}/{path}").to_pylist() for path in artifacts(store)}


def check_ended_badly(done, *told):
    output, error = done
    assert "Traceback" not in error
    for each in told:
        assert each in error, error
    assert "completed" not in output


def check_resumed(clipes, arguments, store, undisturbed):
    """The same command again makes what is missing, and the whole is that of an undisturbed run."""
    before, whole = artifacts(store), rows(undisturbed)
    assert len(before) < len(whole), "it was not in the middle any more"
    assert rows(store).items() <= whole.items()
    again = clipes(*arguments, "--store", store)
    assert again.returncode == 0, again.stderr
    stages = json.loads(fsspec.open(f"{store}/runs/voc12/metrics.json").open().read())["stages"]
    assert sum(stages[stage]["computed_shards"] for stage in SHARDED) == len(whole) - len(before)
    assert rows(store) == whole
    assert not [path for path in files_of(store) if path.endswith(".tmp")]


def check_no_process_is_left(folder):
    assert [process.cmdline() for process in processes_in(folder)] == []


def processes_in(folder):
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == folder:
                yield process
        except psutil.Error:  # it has just ended, or is not ours
            continue


@contextmanager
def mounted(place, *options):
    """Something mounted on a folder for the block."""
    place.mkdir()
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"needs the right to mount ({done.stderr.strip()}): run it as root, in a container with CAP_SYS_ADMIN"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def remount(place, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def test_a_full_disk_is_told_and_what_is_written_is_whole(clipes, arguments, undisturbed):
    sizes = files_of(undisturbed)
    needed = sum(sizes[path] for path in artifacts(undisturbed))
    with mounted(clipes.folder / "small", "-t", "tmpfs", "-o", f"size={needed // 2}", "tmpfs") as store:
        done = clipes(*arguments, "--store", str(store))

        assert done.returncode == 1, done.stderr
        check_ended_badly(
            (done.stdout, done.stderr),
            f"{store}/",
            "the disk is full (",
            "No space left on device); free space on it, then go on",
            RESUME,
        )
        assert not [path for path in files_of(str(store)) if path.endswith(".tmp")]
        check_no_process_is_left(clipes.folder)

        remount(store, "size=100m")
        check_resumed(clipes, arguments, str(store), undisturbed)


def test_a_store_that_can_only_be_read_is_told_and_left_as_it_is(clipes, arguments, undisturbed):
    real = clipes.folder / "real"
    real.mkdir()
    assert clipes(*arguments, "--store", str(real), "--until", "cams").returncode == 0
    before = files_of(str(real))
    with mounted(clipes.folder / "store", "--bind", str(real)) as store:
        remount(store, "bind,ro")
        done = clipes(*arguments, "--store", str(store))

        assert done.returncode == 1, done.stderr
        check_ended_badly(
            (done.stdout, done.stderr),
            f"clipes: {store}/runs/voc12/",
            ": the disk can only be read (Read-only file system); mount it for writing, or name another place",
        )
        assert files_of(str(store)) == before
        assert clipes("status", "voc12", "--store", str(store)).stdout.startswith("run voc12: completed")
        check_no_process_is_left(clipes.folder)

        remount(store, "bind,rw")
        check_resumed(clipes, arguments, str(store), undisturbed)


@pytest.fixture
def on_s3(clipes, s3, s3_folder):
    """The command with the S3 server's writer, and a store there."""
    return replace(clipes, environment={**clipes.environment, **s3.environment()}), f"{s3_folder}/store"


def in_the_middle(clipes, arguments, store):
    """Start a run, and return it when the first shard of cams is made."""
    process = clipes.start(*arguments, "--store", store)
    while not artifacts(store, "cams"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


def test_a_run_outlives_an_s3_server_that_comes_back(on_s3, s3, arguments, undisturbed):
    clipes, store = on_s3
    patient = replace(
        clipes, environment={**clipes.environment, "AWS_RETRY_MODE": "standard", "AWS_MAX_ATTEMPTS": "12"}
    )
    process = in_the_middle(patient, arguments, store)
    s3.kill()
    s3.start()
    _, error = process.communicate(timeout=300)

    assert process.returncode == 0, error
    assert "Traceback" not in error
    assert rows(store) == rows(undisturbed)
    check_no_process_is_left(clipes.folder)


def test_a_run_ends_when_its_s3_server_stays_away_and_resumes(on_s3, s3, arguments, undisturbed):
    clipes, store = on_s3
    impatient = replace(clipes, environment={**clipes.environment, "AWS_MAX_ATTEMPTS": "1"})
    process = in_the_middle(impatient, (*arguments, "--set", "execution.retries=0"), store)
    s3.kill()
    try:
        done = process.communicate(timeout=300)
    finally:
        s3.start()

    assert process.returncode == 1, done
    check_ended_badly(done, f"{store}/", "Could not connect to the endpoint URL", "check the address, the netw", RESUME)
    check_no_process_is_left(clipes.folder)
    check_resumed(clipes, arguments, store, undisturbed)
