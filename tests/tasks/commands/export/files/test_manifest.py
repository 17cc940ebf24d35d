"""manifest.json and SHA256SUMS, and exports that are repeated, interrupted, or have files of the user in the way."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import fsspec
import numpy as np
import pytest
from support.exported_runs import write_masks_run
from support.killed_writers import export_and_kill

from clipes_core.errors import PhotoError, UsageError

FORMATS = ("voc", "ids", "coco", "yolo", "cvat", "labelstudio", "hf")


def files_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def listed_digests(content):
    lines = [line for line in content.decode().splitlines() if not line.startswith("#")]
    return {line[66:]: line[:64] for line in lines}


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_file_is_listed_with_its_digest(odd_run, tmp_path, format_name):
    exported = odd_run.export(format_name, tmp_path, confidence=True, photos=True)

    files = files_below(tmp_path)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != "SHA256SUMS"}
    assert listed_digests(files["SHA256SUMS"]) == digests
    manifest = json.loads(files["manifest.json"])
    assert manifest["format"] == format_name
    assert manifest["run"] == "plain"
    assert manifest["settings"] == {"ignore_below": 0.5, "confidence": True, "photos": True, "only": None}
    assert manifest["masks_written"] == len(odd_run.masks)
    assert (manifest["pixels"], manifest["ignored_pixels"]) == (exported.pixels, exported.ignored)
    assert manifest["stage_keys"]


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_repeated_export_gives_the_same_files_and_other_settings_replace_them(odd_run, tmp_path, format_name):
    odd_run.export(format_name, tmp_path)
    first = files_below(tmp_path)
    odd_run.export(format_name, tmp_path)
    assert files_below(tmp_path) == first
    odd_run.export(format_name, tmp_path, ignore_below=0)
    assert json.loads((tmp_path / "manifest.json").read_text())["ignored_pixels"] == 0
    odd_run.export(format_name, tmp_path)
    assert files_below(tmp_path) == first


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        ({"format_name": "ids"}, {"format_name": "coco"}, r"class_ids/.+\.png, .+, .+ and 7 more"),
        ({"format_name": "yolo", "photos": True}, {"format_name": "yolo"}, r"images/.+, .+, .+ and 7 more"),
        ({"format_name": "yolo"}, {"format_name": "yolo", "only": "to-check"}, r"labels/.+\.txt.*"),
        ({"format_name": "hf", "only": "to-check"}, {"format_name": "hf"}, r"to-check\.csv"),
        ({"format_name": "hf"}, {"format_name": "voc"}, r"data/train-00000\.parquet, README\.md"),
    ],
)
def test_files_of_an_earlier_export_are_never_mixed_with_others(odd_run, tmp_path, first, second, left):
    odd_run.export(to=tmp_path, **first)
    before = files_below(tmp_path)
    reason = (
        rf"has files of an earlier export that this export does not contain \({left}\): delete them, or name another"
    )
    with pytest.raises(UsageError, match=rf"^--to: nothing was written: {tmp_path} {reason}"):
        odd_run.export(to=tmp_path, **second)
    assert files_below(tmp_path) == before

    for name in before.keys() - {"SHA256SUMS", "classes.json", "manifest.json"}:
        (tmp_path / name).unlink()
    odd_run.export(to=tmp_path, **second)
    assert listed_digests((tmp_path / "SHA256SUMS").read_bytes()).keys() == files_below(tmp_path).keys() - {
        "SHA256SUMS"
    }


@pytest.mark.parametrize(
    ("format_name", "name"),
    [
        ("ids", "class_ids/a/b.png"),
        ("coco", "annotations.json"),
        ("yolo", "labels/full.txt"),
        ("yolo", "data.yaml"),
        ("cvat", "annotations.xml"),
        ("labelstudio", "tasks.json"),
        ("labelstudio", "labeling_config.xml"),
        ("hf", "data/train-00000.parquet"),
        ("hf", "README.md"),
        ("voc", "classes.json"),
        ("voc", "manifest.json"),
        ("voc", "SHA256SUMS"),
        ("coco", "images/full.png"),
    ],
)
def test_a_file_of_the_user_is_kept_and_nothing_is_written(odd_run, tmp_path, format_name, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    with pytest.raises(UsageError, match=name.rpartition("/")[2]):
        odd_run.export(format_name, tmp_path, photos=True)
    assert files_below(tmp_path) == {name: b"mine"}


def test_a_photo_that_has_changed_ends_the_export_without_a_manifest(tmp_path):
    run = write_masks_run(tmp_path, {"a": np.ones((5, 5), np.uint8), "b": np.ones((5, 5), np.uint8)}, shards=1)
    run.export("ids", tmp_path / "out", photos=True)
    Path(run.photos["b"].uri).write_bytes(b"changed")
    with pytest.raises(PhotoError, match=r"b\.png"):
        run.export("ids", tmp_path / "out", photos=True)
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert (tmp_path / "out" / "SHA256SUMS").exists()


@pytest.mark.parametrize("format_name", FORMATS)
def test_an_export_to_s3_has_the_same_files(odd_run, tmp_path, s3_folder, format_name):
    odd_run.export(format_name, tmp_path)
    for _ in range(2):
        odd_run.export(format_name, s3_folder)
    fs = fsspec.filesystem("s3")
    root = s3_folder.removeprefix("s3://")
    found = {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}
    assert found == files_below(tmp_path)


def interrupted_export(run, format_name, out, sent):
    """Export in another process, and send it a signal when it has begun to write; repeat this if it was faster."""
    command = [sys.executable, "-m", "clipes", "export", run.name, "--store", run.store, "--format", format_name]
    for attempt in count():
        process = subprocess.Popen([*command, "--to", f"{out}{attempt}"], stdout=subprocess.DEVNULL)
        while not list(Path(f"{out}{attempt}").rglob("*")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(sent)
        if process.wait() != 0:
            return Path(f"{out}{attempt}")
    return None


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("format_name", ["ids", "coco", "hf"])
def test_a_killed_export_has_no_half_file_and_is_repeated(tmp_path, format_name, sent):
    noise = np.random.default_rng(3)
    masks = {f"{number:03d}": noise.integers(0, 3, (200, 300), np.uint8) for number in range(300)}
    run = write_masks_run(tmp_path, masks)

    out = interrupted_export(run, format_name, tmp_path / "out", sent)

    assert not (out / "manifest.json").exists()
    kept = {name: content for name, content in files_below(out).items() if not Path(name).name.startswith(".")}
    done = {name: content for name, content in kept.items() if not name.startswith("SHA256SUMS")}
    run.export(format_name, out, ignore_below=0.95)
    assert files_below(out).items() >= done.items()
    assert json.loads((out / "manifest.json").read_text())["masks_written"] == 300


@pytest.mark.slow
@pytest.mark.parametrize(("format_name", "step"), [("yolo", 4), ("coco", 4), ("hf", 1)])
def test_an_export_killed_at_any_file_is_completed_also_with_other_settings(tmp_path, format_name, step):
    noise = np.random.default_rng(3)
    masks = {f"{number}": noise.integers(0, 3, (20, 30), np.uint8) for number in range(5)}
    run, out = write_masks_run(tmp_path, masks), tmp_path / "out"
    whole = [{"photos": True}, {"photos": True, "ignore_below": 0.95}]
    for number, options in enumerate(whole):
        run.export(format_name, tmp_path / f"whole{number}", **options)

    kills = 0
    for write in count(1, step):
        if not export_and_kill(run, format_name, out, write, "after" if kills % 2 else "before"):
            break
        kills += 1
        assert not (out / "manifest.json").exists() or (out / "SHA256SUMS.parts").exists()
        for number, options in enumerate(whole):
            copy = tmp_path / f"copy{write}-{number}"
            shutil.copytree(out, copy, ignore=shutil.ignore_patterns(".*")) if out.exists() else None
            run.export(format_name, copy, **options)
            assert files_below(copy) == files_below(tmp_path / f"whole{number}"), (write, options)
    assert kills > 3
    whole_files = files_below(tmp_path / "whole0")
    del whole_files["SHA256SUMS"]  # the order of its lines depends on the size of a batch
    assert whole_files.items() <= files_below(out).items()


@pytest.mark.slow
def test_a_file_changed_after_the_export_was_killed_is_kept(tmp_path):
    run, out = write_masks_run(tmp_path, {name: np.ones((5, 5), np.uint8) for name in "abcd"}), tmp_path / "out"
    assert export_and_kill(run, "yolo", out, 6, "after")
    label = next((out / "labels").glob("[!.]*.txt"))
    label.write_text("corrected")
    with pytest.raises(UsageError, match=rf"nothing was written: .*{label.name} exists and has no valid mark"):
        run.export("yolo", out, photos=True)
    assert label.read_text() == "corrected"
