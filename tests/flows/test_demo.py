"""The demo as a user runs it, with the shipped config and the shipped CLIP."""

import json

import pytest
from support.commands import settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FRESH_SEED = 4242  # no setting was tuned on its scenes


def run_demo(clipes, configs, name, *options):
    seed = settings(f"dataset.seed={FRESH_SEED}")
    command = ("run", str(configs / "demo.yaml"), "--name", name, "--until", "mask_scores")
    done = clipes(*command, *seed, *options, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = clipes.folder / "clipes-store" / "runs" / name
    assert done.stdout.splitlines()[-1] == f"report: {folder / 'report.html'}"
    assert (folder / "report.html").stat().st_size > 100_000
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["pseudo_mask"]["images"] == 200
    return {name: metrics[name]["miou"] for name in ("centre_box", "initial_cam", "refined_cam", "pseudo_mask")}


def test_refinement_and_softmax_raise_the_scores_on_fresh_scenes(clipes, configs):
    made = run_demo(clipes, configs, "demo")
    assert made["refined_cam"] > made["initial_cam"]
    assert made["pseudo_mask"] >= made["refined_cam"] - 0.01
    assert made["pseudo_mask"] > made["centre_box"]
    assert made["pseudo_mask"] >= 0.33
    without = run_demo(clipes, configs, "without-softmax", "--set", "cam.softmax=false")
    assert without["pseudo_mask"] < made["pseudo_mask"]
    assert without["refined_cam"] < made["refined_cam"]


def test_the_demo_trains_a_segmenter_that_predicts_photos(clipes, configs):
    few = settings("dataset.count=24", "evaluation.count=8", "execution.shards=2", "train.iterations=40")
    command = ("run", str(configs / "demo.yaml"), *few)
    done = clipes(*command, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = clipes.folder / "clipes-store" / "runs" / "demo"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["segmenter"]["images"] == 8
    assert 0 < metrics["segmenter"]["miou"] < 1
    assert metrics["training"]["iterations"] == 40
    assert metrics["training"]["photos"] == 24

    again = clipes(*command)
    assert again.returncode == 0, again.stderr
    assert "nothing to compute" in again.stdout

    scenes = clipes.folder / "clipes-store" / "scenes" / "v1-seed1" / "JPEGImages"
    predicted = clipes("predict", "demo", str(scenes), "--to", "out", "--overlay")
    assert predicted.returncode == 0, predicted.stderr
    assert sorted(path.name for path in (clipes.folder / "out").glob("*.png")) == [
        f"scene_1_{index:05d}.png" for index in range(8)
    ]
    exported = clipes("export", "demo", "--to", "voc", "--segmenter")
    assert exported.returncode == 0, exported.stderr
    assert len(list((clipes.folder / "voc").rglob("*.png"))) == 8
