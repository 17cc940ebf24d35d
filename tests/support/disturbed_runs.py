"""Runs that a test disturbs halfway, and checks of the rerun that resumes them."""

import json
import time

import fsspec

from clipes.tasks.storage.artifact_store import ArtifactStore

SHARDS = 6
SHARDED = ("cams", "masks", "mask_scores")


def files_of(store):
    """Return path below the store -> size of the file, including temporary files."""
    fs, folder = fsspec.url_to_fs(str(store), use_listings_cache=False)
    found = fs.find(folder, detail=True)
    return {path.removeprefix(folder).lstrip("/"): entry["size"] for path, entry in found.items()}


def artifacts(store, *stages):
    """Return the paths below the store of the artifacts of stages; by default of `SHARDED`."""
    wanted = {("artifacts", stage) for stage in stages or SHARDED}
    return {path for path in files_of(store) if tuple(path.split("/")[:2]) in wanted and not path.endswith(".tmp")}


def rows(store):
    """Return path below the store -> rows of the artifact; the path contains the digest of the artifact's inputs."""
    return {path: ArtifactStore(str(store)).read(f"{store}/{path}").to_pylist() for path in artifacts(store)}


def run_file(store, name):
    """Read a JSON file of the run."""
    with fsspec.open(f"{store}/runs/voc12/{name}") as file:
        return json.load(file)


def start_and_wait_for_shard(clipes, arguments, store, stage="cams"):
    """Start a run, and return its process once the first shard of a stage is made."""
    process = clipes.start(*arguments, "--store", str(store))
    while not artifacts(store, stage):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def check_resumed(clipes, arguments, store, uninterrupted_store):
    """Check that a rerun computes only the missing shards, and that the store then equals an uninterrupted one."""
    before, whole = artifacts(store), rows(uninterrupted_store)
    assert len(before) < len(whole), "the run had already made all shards"
    assert rows(store).items() <= whole.items()
    again = clipes(*arguments, "--store", str(store), timeout=500)
    assert again.returncode == 0, again.stderr
    stages = run_file(store, "metrics.json")["stages"]
    assert sum(stages[stage]["computed_shards"] for stage in SHARDED) == len(whole) - len(before)
    assert run_file(store, "run.json")["state"] == "completed"
    assert rows(store) == whole
