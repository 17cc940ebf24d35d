"""Two runs that do the same work in one store at the same time: no artifact breaks, and few are computed twice."""

import json

import pyarrow.parquet as pq
import pytest
from support.commands import settings
from support.prepared import prepare_run

from clipes.tasks.inputs.configs import load_config
from clipes.tasks.storage.run_files import RunFiles

SHARDS = 32  # a few of them have none of the 64 photos
# The limit of shards that both runs compute in a stage with one worker per run. About ln(SHARDS) + 1 = 4.5 are
# expected. If both runs took the shards in the same order, nearly all would be computed twice.
MAX_COMPUTED_TWICE = 14
WORK = settings(
    "dataset.count=64",
    f"execution.shards={SHARDS}",
    "clip.device=cpu",
    "execution.cpu_workers=1",
    "execution.gpu_workers=1",
    "crf.iter_max=2",
    "train.enabled=false",
)


@pytest.fixture
def clipes(clipes_process):
    """Return the command, run as a separate process."""
    return clipes_process


def run_of(clipes, store, name):
    """Return the content of metrics.json, and (stage, shard) -> artifact, of a completed run."""
    folder = clipes.folder / store / "runs" / name
    status = RunFiles(str(clipes.folder / store), name).read_status()
    artifacts = {(row["stage"], row["shard"]): row["artifact"] for row in status if row["stage"] != "manifest"}
    return json.loads((folder / "metrics.json").read_text()), artifacts


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_simultaneous_runs_share_the_work_and_break_nothing(clipes, configs):
    names, demo = ("one", "two"), str(configs / "demo.yaml")
    work = (*WORK, "--set", f"dataset.root={clipes.folder / 'scenes'}")
    prepare_run(
        load_config(demo, [text for text in work if text != "--set"]), "masks"
    )  # generate the photos beforehand
    runs = [clipes.start("run", demo, *work, "--name", name) for name in names]
    outputs = [run.communicate(timeout=400) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs

    (one, artifacts), (two, same) = (run_of(clipes, "clipes-store", name) for name in names)
    assert artifacts == same
    assert one["pseudo_mask"] == two["pseudo_mask"]
    for stage in ("cams", "masks", "mask_scores"):
        shards = one["stages"][stage]["shards"]
        computed = one["stages"][stage]["computed_shards"] + two["stages"][stage]["computed_shards"]
        assert shards <= computed <= shards + MAX_COMPUTED_TWICE, stage
    assert not list((clipes.folder / "clipes-store").rglob(".*"))

    done = clipes("run", demo, *work, "--store", "another", "--name", "alone", timeout=400)
    assert done.returncode == 0, done.stderr
    _, from_one_run = run_of(clipes, "another", "alone")
    assert from_one_run.keys() == artifacts.keys()
    for shard, uri in from_one_run.items():
        assert pq.read_table(uri).equals(pq.read_table(artifacts[shard])), shard
