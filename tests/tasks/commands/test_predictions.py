import logging
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image
from support.input_cases.photos import picture
from support.small_segmenters import built, save_run, small_config
from support.toy_crf_backends import NOT_INSTALLED

from clipes.tasks.commands.predictions import Prediction, PredictionRequest, predict
from clipes_core.config.run import parse_config
from clipes_core.config.segmenter import EvaluationConfig
from clipes_core.crf_backends import CRF_BACKENDS
from clipes_core.errors import BrokenArtifactError, ConfigError, UsageError
from clipes_core.pictures.overlay import ids_on_photo
from clipes_core.preprocessing import limit_side
from clipes_core.segmentation.inference import photo_mask


@pytest.fixture(scope="module")
def model():
    return built(small_config(), seed=3)


@pytest.fixture
def predicted(tmp_path, model):
    """Return a function that predicts photos with the segmenter of a run and returns the outcomes."""

    def predicted(*images, to="out", overlay=False, **sections):
        config = parse_config({"name": "r", "store": str(tmp_path / "store"), "dataset": {"root": "x"}, **sections})
        save_run(config, model)
        target = to if "://" in to else str(tmp_path / to)
        request = PredictionRequest(tuple(str(image) for image in images), target, overlay, device="cpu")
        return list(predict(config.store, "r", request))

    return predicted


@pytest.fixture
def photo(tmp_path):
    """Return a function that writes a photo of 60 x 44 px below the test folder and returns its path."""

    def photo(name, left=0):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(size=(160, 44)).crop((left, 0, left + 60, 44)).save(path)
        return path

    return photo


def ids_of(path):
    with Image.open(path) as image:
        assert image.mode == "P"
        assert image.getpalette()[3:6] == [128, 0, 0]
        return np.array(image)


def rgb_of(path):
    return np.asarray(Image.open(path).convert("RGB"))


def written(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_masks_follow_the_segmenter_and_settings_of_the_run(tmp_path, predicted, photo, model):
    first, second = photo("a.jpg"), photo("x/b.png", left=40)
    evaluation = {"mode": "slide", "crop": 32, "stride": 32, "scales": [1, 0.5], "merge": "max"}

    outcomes = predicted(first, second, evaluation=evaluation)

    assert outcomes == [Prediction(str(first)), Prediction(str(second))]
    assert written(tmp_path / "out") == ["a.png", "b.png"]
    settings = EvaluationConfig.model_validate(evaluation)
    for path, mask in ((first, "a.png"), (second, "b.png")):
        assert (ids_of(tmp_path / "out" / mask) == photo_mask(model, rgb_of(path), settings)).all()


def test_a_folder_stands_for_all_photos_below_it(tmp_path, predicted, photo):
    for name in ("p/a.jpg", "p/deep/er/b.PNG", "p/c.webp"):
        photo(name)
    (tmp_path / "p" / "notes.txt").write_text("no photo")
    assert len(predicted(tmp_path / "p")) == 3
    assert written(tmp_path / "out") == ["a.png", "c.png", "deep/er/b.png"]


def test_masks_of_photos_with_the_same_name_do_not_overwrite_each_other(tmp_path, predicted, photo, model, caplog):
    paths = [photo("p/a.jpg"), photo("p/a.png", left=30), photo("q/a.jpg", left=60), photo("q/a-2.jpg", left=90)]
    with caplog.at_level(logging.INFO, logger="clipes"):
        predicted(*paths, paths[0])
    assert written(tmp_path / "out") == ["a-2-2.png", "a-2.png", "a-3.png", "a.png"]
    for path, mask in zip(paths, ("a", "a-2", "a-3", "a-2-2"), strict=True):
        expected = photo_mask(model, rgb_of(path), EvaluationConfig())
        assert (ids_of(tmp_path / "out" / f"{mask}.png") == expected).all()
    assert f"{paths[1]}: its mask is written as a-2.png, because another photo is also named a" in caplog.messages


def test_masks_written_into_the_photo_folder_are_not_read_as_photos(tmp_path, predicted, photo):
    photo("p/a.jpg")
    for _ in range(2):
        assert len(predicted(tmp_path / "p", to="p/masks")) == 1
    assert written(tmp_path / "p") == ["a.jpg", "masks/a.png"]


@pytest.mark.parametrize("to", ["file://{}/p/masks", "{}/link/masks"])
def test_masks_are_not_read_as_photos_whatever_path_leads_to_them(tmp_path, predicted, photo, to):
    photo("p/a.jpg")
    (tmp_path / "link").symlink_to("p")
    for _ in range(2):
        assert len(predicted(tmp_path / "p", to=to.format(tmp_path))) == 1
    assert written(tmp_path / "p") == ["a.jpg", "masks/a.png"]


def test_photos_may_be_below_the_target_folder(tmp_path, predicted, photo):
    photo("out/p/a.jpg")
    assert len(predicted(tmp_path / "out" / "p", to="out")) == 1
    assert written(tmp_path / "out") == ["a.png", "p/a.jpg"]


@pytest.mark.parametrize("name", ["p/a.png", "p/a-overlay.jpg"])
def test_no_mask_replaces_a_photo(tmp_path, predicted, photo, name):
    photos = {photo("p/a.png" if name == "p/a.png" else "p/a.jpg"), photo(name)}
    before = photo(name).read_bytes()
    with pytest.raises(UsageError, match=rf"^--to: nothing was written: .*{name} is one of the photos or true masks"):
        predicted(*sorted(photos), to="p", overlay=True)
    assert photo(name).read_bytes() == before
    assert len(written(tmp_path / "p")) == len(photos)


def test_an_overlay_shows_the_mask_on_the_photo(tmp_path, predicted, photo):
    path = photo("a.png")
    predicted(path, overlay=True)
    mask = ids_of(tmp_path / "out" / "a.png")
    palette = np.array(Image.open(tmp_path / "out" / "a.png").getpalette(), np.uint8).reshape(-1, 3)
    expected = ids_on_photo(rgb_of(path), mask, palette)
    difference = np.abs(rgb_of(tmp_path / "out" / "a-overlay.jpg").astype(int) - expected)
    assert difference.mean() < 5  # JPEG is lossy


def test_a_large_photo_is_reduced_as_in_the_run_but_its_mask_is_not(tmp_path, predicted, photo, model):
    path = photo("a.png")
    predicted(path, overlay=True, dataset={"root": "x", "max_side": 32})
    small = photo_mask(model, np.asarray(limit_side(Image.open(path), 32)), EvaluationConfig())
    mask = ids_of(tmp_path / "out" / "a.png")
    assert mask.shape == (44, 60)
    assert set(np.unique(mask)) == set(np.unique(small))
    assert Image.open(tmp_path / "out" / "a-overlay.jpg").size == (32, 23)


def test_bad_photos_are_reported_and_the_others_predicted(tmp_path, predicted, photo):
    good, bad, small = photo("a.jpg"), tmp_path / "b.jpg", tmp_path / "c.png"
    bad.write_bytes(b"no photo")
    Image.new("RGB", (1, 9)).save(small)

    outcomes = {each.uri: each.reason for each in predicted(bad, tmp_path / "none.jpg", "foo://x/d.jpg", small, good)}

    assert outcomes[str(good)] is None
    assert outcomes[str(bad)] == f"{bad} (8 bytes) cannot be decoded: not an image in a known format"
    assert outcomes[str(tmp_path / "none.jpg")] == f"{tmp_path / 'none.jpg'} does not exist"
    assert outcomes["foo://x/d.jpg"].startswith("foo://x/d.jpg: ")
    assert outcomes[str(small)].startswith(f"{small}: photo is 1 x 9 px")
    assert written(tmp_path / "out") == ["a.png"]


def test_photos_and_target_may_be_any_uri(predicted, photo, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe_file(f"{tmp_path}/p/deep/a.png", photo("a.png").read_bytes())
    predicted(f"memory:/{tmp_path}/p", to=f"memory:/{tmp_path}/out")
    assert memory.find(f"{tmp_path}/out") == [f"{tmp_path}/out/deep/a.png"]


def test_the_error_for_a_run_without_a_segmenter_says_what_to_do(tmp_path):
    config = parse_config({"name": "r", "store": str(tmp_path), "dataset": {"root": "x"}})
    save_run(config, None)
    with pytest.raises(UsageError, match=r"^run r has no segmenter: run it again with train\.enabled=true"):
        list(predict(str(tmp_path), "r", PredictionRequest(("a.jpg",), "out")))
    with pytest.raises(UsageError, match="no run other in"):
        list(predict(str(tmp_path), "other", PredictionRequest(("a.jpg",), "out")))


def test_a_missing_segmenter_is_reported(tmp_path, photo, model):
    config = parse_config({"name": "r", "store": str(tmp_path / "store"), "dataset": {"root": "x"}})
    path = save_run(config, model)
    fsspec.filesystem("file").rm(path)
    with pytest.raises(BrokenArtifactError, match="has no weights file of the expected size next to it"):
        list(predict(config.store, "r", PredictionRequest((str(photo("a.jpg")),), str(tmp_path / "out"))))


def test_another_network_of_the_same_size_is_never_used(tmp_path, photo, model):
    config = parse_config({"name": "r", "store": str(tmp_path / "store"), "dataset": {"root": "x"}})
    other = Path(save_run(config.model_copy(update={"store": str(tmp_path / "other")}), built(small_config(), seed=7)))
    Path(save_run(config, model)).write_bytes(other.read_bytes())
    with pytest.raises(BrokenArtifactError, match="has a damaged weights file next to it"):
        list(predict(config.store, "r", PredictionRequest((str(photo("a.jpg")),), str(tmp_path / "out"))))


def test_a_folder_without_photos_is_reported(tmp_path, predicted):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty: the folder holds no photos \(\.jpg, "):
        predicted(tmp_path / "empty")


def test_a_run_of_an_exact_crf_backend_predicts_without_its_package(predicted, photo, monkeypatch):
    monkeypatch.setitem(CRF_BACKENDS, "toy", NOT_INSTALLED)
    (made,) = predicted(photo("a.jpg"), evaluation={"crf": {"enabled": True, "backend": "toy"}})
    assert made.reason is None


def test_a_crf_backend_without_its_package_is_refused(predicted, photo, monkeypatch):
    monkeypatch.setitem(CRF_BACKENDS, "toy", replace(NOT_INSTALLED, exact=False))
    crf = {"enabled": True, "backend": "toy"}
    with pytest.raises(ConfigError, match=r"^evaluation\.crf\.backend=toy: the package no_such_module is not"):
        predicted(photo("a.jpg"), evaluation={"crf": crf})
    (made,) = predicted(photo("a.jpg"), evaluation={"crf": crf | {"enabled": False}})
    assert made.reason is None


def test_a_device_that_does_not_exist_is_reported(tmp_path, model):
    config = parse_config({"name": "r", "store": str(tmp_path), "dataset": {"root": "x"}})
    save_run(config, model)
    with pytest.raises(ConfigError, match=r"^--device: this host has no cuda:77; set --device to one of auto, cpu"):
        list(predict(str(tmp_path), "r", PredictionRequest(("a.jpg",), "out", device="cuda:77")))
