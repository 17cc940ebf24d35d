"""`clipes run` with a real Prefect server, and with real photos or generated scenes."""

import io
import json
import shlex

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.commands import settings
from support.voc_scenes import NINE, THREE_MORE

from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.run_files import RunFiles


def metrics_of(clipes, name="voc12"):
    return json.loads((clipes.folder / "clipes-store" / "runs" / name / "metrics.json").read_text())


def rows_of(clipes, stage):
    """Return image_id -> row, read from the artifacts listed in status.parquet."""
    folder = clipes.folder / "clipes-store"
    store = ArtifactStore(str(folder))
    uris = [row["artifact"] for row in RunFiles(store.uri, "voc12").read_status() if row["stage"] == stage]
    return {row["image_id"]: row for uri in uris for row in store.read_rows(uri)}


def ids(png):
    return np.array(Image.open(io.BytesIO(png)))


def maps(row, column):
    shape = (len(row["class_ids"]), row["grid_h"], row["grid_w"])
    return np.frombuffer(row[column], "<f2").reshape(shape).astype(np.float32)


def argmax_mask(row, refined_cam):
    size = (row["width"], row["height"])
    resized = np.stack([cv2.resize(cam, size) for cam in refined_cam])
    return np.concatenate([1 - resized.max(axis=0, keepdims=True), resized]).argmax(axis=0)


def share_of_close_confidence(row, confidence):
    """Return the share of pixels whose confidence differs by at most 2 of 255 levels."""
    return (np.abs(ids(row["confidence_png"]).astype(int) - confidence) <= 2).mean()


def ok(completed):
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def computed(metrics):
    return {stage: counts["computed_rows"] for stage, counts in metrics["stages"].items() if stage != "manifest"}


def test_a_run_agrees_with_the_published_program_and_is_cached(clipes, golden_arguments, golden_photos):
    ok(clipes(*golden_arguments))

    cams, masks = rows_of(clipes, "cams"), rows_of(clipes, "masks")
    assert cams.keys() == masks.keys() == golden_photos.keys()
    for image_id, photo in golden_photos.items():
        row = cams[image_id]
        assert row["class_ids"] == photo.class_ids.tolist()
        np.testing.assert_allclose(row["scores"], photo.softmax_scores, atol=1e-5)
        np.testing.assert_allclose(maps(row, "cam"), photo.cam, atol=1e-3)
        np.testing.assert_allclose(maps(row, "refined_cam"), photo.refined_cam, atol=1e-3)
        assert (ids(masks[image_id]["mask_png"]) == photo.mask_rgb).mean() >= 0.999
        assert share_of_close_confidence(masks[image_id], photo.confidence_rgb) >= 0.999
    first = metrics_of(clipes)
    assert computed(first) == {"texts": 45, "cams": 9, "masks": 9, "mask_scores": 9}
    for scored in ("initial_cam", "refined_cam", "pseudo_mask"):
        assert 0 < first[scored]["miou"] < 1
        assert first[scored]["images"] == 9

    output = ok(clipes(*golden_arguments, "--verify"))
    assert "nothing to compute: all 7 shards are cached" in output
    assert "verified: 7 cached artifacts were read completely" in output
    again = metrics_of(clipes)
    assert computed(again) == dict.fromkeys(("texts", "cams", "masks", "mask_scores"), 0)
    assert again["stages"]["cams"]["cached_shards"] == 2
    assert again["pseudo_mask"] == first["pseudo_mask"]

    ok(clipes(*golden_arguments, "--set", "crf.image=reference", "--retry-errors"))
    assert computed(metrics_of(clipes)) == {"texts": 0, "cams": 0, "masks": 9, "mask_scores": 9}
    for image_id, row in rows_of(clipes, "masks").items():
        photo = golden_photos[image_id]
        assert (ids(row["mask_png"]) == photo.mask_reference).mean() >= 0.999
        assert share_of_close_confidence(row, photo.confidence_reference) >= 0.999
    history = list((clipes.folder / "clipes-store" / "runs" / "voc12" / "history").iterdir())
    assert len(history) == 1
    assert (history[0] / "metrics.json").exists()


def test_bf16_cams_give_almost_the_same_masks_as_fp32_cams(clipes, golden_arguments, golden_photos):
    ok(clipes(*golden_arguments, "--set", "clip.precision=bf16", "--until", "cams"))
    equal = pixels = 0
    for image_id, row in rows_of(clipes, "cams").items():
        ours = argmax_mask(row, maps(row, "refined_cam"))
        equal += (ours == argmax_mask(row, golden_photos[image_id].refined_cam)).sum()
        pixels += ours.size
    assert equal / pixels >= 0.995
    assert set(metrics_of(clipes)) == {"run", "seal", "stages"}


def test_adding_three_photos_computes_three_rows_per_stage(clipes, scene_arguments):
    split = clipes.folder / "nine.txt"
    split.write_text("\n".join(NINE) + "\n")
    fast = ("--set", f"dataset.split={split}", "--set", "crf.iter_max=1")
    ok(clipes(*scene_arguments, *fast))
    before = rows_of(clipes, "masks")
    split.write_text(split.read_text() + "\n".join(THREE_MORE) + "\n")

    plan = ok(clipes(*scene_arguments, *fast, "--plan", "--verify"))
    assert "verified: 1 cached artifacts were read completely" in plan  # texts; every other shard has changed
    assert plan_numbers(plan, "cams") == [2, 0, 12, 9, 3]
    assert plan_numbers(plan, "masks") == [2, 0, 12, 9, 3]
    assert rows_of(clipes, "masks") == before

    ok(clipes(*scene_arguments, *fast))
    metrics = metrics_of(clipes)
    assert computed(metrics) == {"texts": 0, "cams": 3, "masks": 3, "mask_scores": 3}
    assert metrics["stages"]["cams"]["copied_rows"] == 9
    after = rows_of(clipes, "masks")
    assert after.keys() == {*before, *THREE_MORE}
    assert {image_id: after[image_id] for image_id in before} == before


def test_two_workers_compute_the_same_cams_as_one(clipes_process, scene_arguments):
    clipes = clipes_process
    ok(clipes(*scene_arguments, "--until", "cams"))
    one = rows_of(clipes, "cams")
    ok(clipes(*scene_arguments, "--until", "cams", "--fresh", "--set", "execution.gpu_workers=2"))
    two = rows_of(clipes, "cams")
    assert computed(metrics_of(clipes))["cams"] == 9
    for image_id, row in one.items():
        np.testing.assert_allclose(maps(two[image_id], "refined_cam"), maps(row, "refined_cam"), atol=1e-3)
        np.testing.assert_allclose(two[image_id]["scores"], row["scores"], atol=1e-5)


@pytest.mark.parametrize(("rate", "code"), [("0.5", 0), ("0.05", 1)])
def test_a_broken_photo_is_a_reject_and_too_many_fail_the_run(clipes, scene_arguments, scene_photos, rate, code):
    folder = clipes.folder / "photos"
    folder.mkdir()
    for image_id in ("scene_00", "scene_01", "scene_02"):
        data = (scene_photos / "JPEGImages" / f"{image_id}.jpg").read_bytes()
        (folder / f"{image_id}.jpg").write_bytes(data[:500] if image_id == "scene_01" else data)
    (clipes.folder / "photos.csv").write_text(
        "image,labels\nscene_00.jpg,bus;car\nscene_01.jpg,bird\nscene_02.jpg,aeroplane\n"
    )
    arguments = [
        *scene_arguments,
        *settings("dataset.format=list", "dataset.split=photos.csv", f"dataset.root={folder}"),
        *settings(f"execution.max_failure_rate={rate}", "execution.tolerated_failures=0", "prompts.template=a {}."),
    ]
    done = clipes(*arguments, "--fresh")
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    rejects = pq.read_table(clipes.folder / "clipes-store" / "runs" / "voc12" / "rejects.parquet").to_pylist()
    assert [(row["image_id"], row["stage"], row["kind"]) for row in rejects] == [("scene_01", "cams", "undecodable")]
    if code:
        assert "cams: 1 of 3 photos failed, more than 0, the limit of execution.max_failure_rate=0.05" in done.stderr
        assert f"To resume: {shlex.join(['clipes', *arguments])}" in done.stderr
        assert computed(metrics_of(clipes))["masks"] < 3
    else:
        assert "1 photos without a result" in done.stdout
        rows = rows_of(clipes, "masks")
        assert [rows[name]["status"] for name in sorted(rows)] == ["ok", "error", "ok"]
        assert rows["scene_01"]["error_kind"] == "upstream"


def test_each_invalid_key_is_reported_in_one_line_with_exit_code_2(clipes, scene_arguments):
    done = clipes(*scene_arguments, "--set", "cam.box_treshold=0.4", "--set", "crf.iter_max=0")
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines[0] == "clipes: cam.box_treshold: unknown key; did you mean cam.box_threshold?"
    assert lines[1].startswith("clipes: crf.iter_max: ")
    assert len(lines) == 2
    assert not (clipes.folder / "clipes-store").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("clip.pretrained=no-such-file.pt", "clip.pretrained: no-such-file.pt exists neither in"),
        ("dataset.root=/no/such/folder", "/no/such/folder"),
        ("dataset.classes=voc13", "voc13"),
        ("clip.device=cuda:77", "this host has no cuda:77"),
    ],
)
def test_a_user_error_exits_with_2_and_no_traceback(clipes, scene_arguments, override, message):
    done = clipes(*scene_arguments, "--set", override)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_prompt_longer_than_77_tokens_exits_with_2(clipes, scene_arguments):
    template = "a {} " + "very " * 90 + "far away."
    done = clipes(*scene_arguments, "--set", f"prompts.template={template}")
    assert done.returncode == 2, done.stderr
    assert "77 tokens" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_plan_without_the_weights_of_clip_counts_what_it_knows(without_weights, configs):
    model = ("clip.model=ViT-B-16-quickgelu", "clip.pretrained=openai")
    arguments = ("run", str(configs / "demo.yaml"), "--until", "masks", *settings("dataset.count=3", *model))
    plan = ok(without_weights(*arguments, "--plan"))
    assert [plan_numbers(plan, stage)[-1] for stage in ("texts", "cams", "masks")] == [20, 3, 3]
    (line,) = [line for line in plan.splitlines() if "not on this machine" in line]
    assert line.startswith("weights of CLIP that are not on this machine: openai of ViT-B-16-quickgelu. A run ")
    run = without_weights(*arguments)
    assert run.returncode == 2
    assert "the weights of ViT-B-16-quickgelu with OpenCLIP's tag openai are missing" in run.stderr


def plan_numbers(plan, stage):
    """Return the numbers of a stage in the output of --plan.

    They are: shards, cached shards, images, copied rows, computed rows.
    """
    (line,) = [line for line in plan.splitlines() if line.split()[:1] == [stage]]
    return [int(number) for number in line.split()[1:]]
