"""Runs that something happens to in the middle, and what must hold when the same command is called again."""

import json
import time

import fsspec

from clipes.tasks.storage.artifact_store import ArtifactStore

SHARDS = 6
SHARDED = ("cams", "masks", "mask_scores")


def files_of(store):
    """Path below the store -> size, temporary files too."""
    fs, folder = fsspec.url_to_fs(str(store), use_listings_cache=False)
    found = fs.find(folder, detail=True)
    return {path.removeprefix(folder).lstrip("/"): entry["size"] for path, entry in found.items()}


def artifacts(store, *stages):
    """Paths below the store of the artifacts of photos."""
    wanted = {("artifacts", stage) for stage in stages or SHARDED}
    return {path for path in files_of(store) if tuple(path.split("/")[:2]) in wanted and not path.endswith(".tmp")}


def rows(store):
    """Path below the store, which holds the digest of what the rows are made of -> rows of a photos' artifact."""
    return {path: ArtifactStore(str(store)).read(f"{store}/{path}").to_pylist() for path in artifacts(store)}


def run_file(store, name):
    with fsspec.open(f"{store}/runs/voc12/{name}") as file:
        return json.load(file)


def in_the_middle(clipes, arguments, store, stage="cams"):
    """Start a run, and return it when the first shard of a stage is made."""
    process = clipes.start(*arguments, "--store", str(store))
    while not artifacts(store, stage):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    return process


def check_resumed(clipes, arguments, store, undisturbed):
    """The same command again makes what is missing, and the whole is that of an undisturbed run."""
    before, whole = artifacts(store), rows(undisturbed)
    assert len(before) < len(whole), "it was not in the middle any more"
    assert rows(store).items() <= whole.items()
    again = clipes(*arguments, "--store", str(store), timeout=500)
    assert again.returncode == 0, again.stderr
    stages = run_file(store, "metrics.json")["stages"]
    assert sum(stages[stage]["computed_shards"] for stage in SHARDED) == len(whole) - len(before)
    assert run_file(store, "run.json")["state"] == "completed"
    assert rows(store) == whole
