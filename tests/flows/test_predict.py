"""The command `clipes predict`."""

import numpy as np
import pytest
from PIL import Image
from support.small_segmenters import built, save_run, small_config

from clipes_core.config.run import parse_config


@pytest.fixture
def trained(clipes):
    """Save a run with a small segmenter in the store of the command."""
    store = str(clipes.folder / "clipes-store")
    config = parse_config({"name": "r", "store": store, "dataset": {"root": "x"}})
    save_run(config, built(small_config()))


@pytest.mark.usefixtures("trained")
def test_a_password_in_a_photo_or_target_is_not_repeated(clipes, scene_photos):
    photo, uri = str(scene_photos / "JPEGImages" / "scene_00.jpg"), "https://me:hunter2@127.0.0.1:9/a.jpg"
    of_photo = clipes("predict", "r", photo, uri, "--to", "out", "--device", "cpu")
    of_target = clipes("predict", "r", photo, "--to", uri, "--device", "cpu")
    assert of_photo.returncode == 2
    assert of_photo.stderr.startswith("clipes: IMAGES: the URI may contain a password or token (")
    assert of_target.stderr.startswith("clipes: --to: the URI may contain a password or token (")
    assert "hunter2" not in of_photo.stderr + of_target.stdout + of_target.stderr


@pytest.mark.usefixtures("trained")
def test_predict_writes_masks_and_overlays_and_reports_a_bad_photo(clipes, scene_photos):
    photo, bad = scene_photos / "JPEGImages" / "scene_00.jpg", clipes.folder / "bad.jpg"
    bad.write_bytes(b"no photo")

    done = clipes("predict", "r", str(photo), "bad.jpg", "--to", "out", "--overlay", "--device", "cpu")

    assert done.returncode == 1
    assert f"clipes: {bad} (8 bytes) cannot be decoded" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()[-1] == "1 masks in out, 1 photos without a mask"
    with Image.open(photo) as image, Image.open(clipes.folder / "out" / "scene_00.png") as mask:
        assert mask.size == image.size
        assert np.array(mask).max() <= 20
    assert (clipes.folder / "out" / "scene_00-overlay.jpg").is_file()
