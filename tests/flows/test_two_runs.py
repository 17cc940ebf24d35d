"""Two runs of the same work at once on one store: nothing is broken, and little is made twice."""

import json

import pyarrow.parquet as pq
import pytest
from support.commands import settings
from support.prepared import prepare_run

from clipes.tasks.inputs.configs import load_config

SHARDS = 32  # a few of them without any of the 64 photos
# Of a stage with one worker a run: about ln(SHARDS) + 1 = 4.5 are expected, more than half once in 10 000 times.
# Where both went through the shards in one order, nearly all would be made twice.
MOST_TWICE = 14
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
    """The command as a process of its own."""
    return clipes_process


def run_of(clipes, store, name):
    """stage -> counts, and place -> artifact, of a run that has ended."""
    folder = clipes.folder / store / "runs" / name
    status = pq.read_table(folder / "status.parquet").to_pylist()
    artifacts = {(row["stage"], row["shard"]): row["artifact"] for row in status if row["stage"] != "manifest"}
    return json.loads((folder / "metrics.json").read_text()), artifacts


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_runs_share_the_work_and_break_nothing(clipes, configs):
    names, demo = ("one", "two"), str(configs / "demo.yaml")
    work = (*WORK, "--set", f"dataset.root={clipes.folder / 'scenes'}")
    prepare_run(load_config(demo, [text for text in work if text != "--set"]), "masks")  # the photos are there before
    runs = [clipes.start("run", demo, *work, "--name", name) for name in names]
    outputs = [run.communicate(timeout=400) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs

    (one, artifacts), (two, same) = (run_of(clipes, "clipes-store", name) for name in names)
    assert artifacts == same
    assert one["pseudo_mask"] == two["pseudo_mask"]
    for stage in ("cams", "masks", "mask_scores"):
        shards = one["stages"][stage]["shards"]
        computed = one["stages"][stage]["computed_shards"] + two["stages"][stage]["computed_shards"]
        assert shards <= computed <= shards + MOST_TWICE, stage
    assert not list((clipes.folder / "clipes-store").rglob(".*"))

    done = clipes("run", demo, *work, "--store", "another", "--name", "alone", timeout=400)
    assert done.returncode == 0, done.stderr
    _, undisturbed = run_of(clipes, "another", "alone")
    assert undisturbed.keys() == artifacts.keys()
    for place, uri in undisturbed.items():
        assert pq.read_table(uri).equals(pq.read_table(artifacts[place])), place
