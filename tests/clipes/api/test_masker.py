"""Masks of single photos, compared with those that the stages of a run make."""

import io
import shutil

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from support.prepared import prepare_run
from support.small_runs import make_run

import clipes
from clipes.tasks.inputs.configs import config_of_overrides
from clipes.tasks.machine.shipped_files import CLIP_MODELS, CONFIGS
from clipes_core.errors import ConfigError, PhotoError, UsageError

# Several classes, a photo that is larger than max_side, and photos of different sizes.
PHOTOS = ("2007_000063", "2007_000068", "2007_000256", "2007_000032")
SETTINGS = {"dataset": {"max_side": 400}, "cam": {"box_threshold": 0.5}, "clip": {"device": "cpu"}}


@pytest.fixture(scope="module")
def masker():
    return clipes.Masker(classes="voc12", model="demo", **SETTINGS)


@pytest.fixture(scope="module")
def made(tmp_path_factory, real_data, pool):
    """Make the masks of real photos in a worker process, as a run does."""
    folder = tmp_path_factory.mktemp("made")
    photos = [name for name in PHOTOS if (real_data / "JPEGImages" / f"{name}.jpg").is_file()]
    (folder / "few.txt").write_text("\n".join(photos))
    config = config_of_overrides(
        {
            "name": "few",
            "store": str(folder / "store"),
            "dataset": {"root": str(real_data), "split": str(folder / "few.txt"), **SETTINGS["dataset"]},
            "clip": {"model": "clipes-demo", "pretrained": "clipes-demo", **SETTINGS["clip"]},
            "cam": SETTINGS["cam"],
            "execution": {"shards": 1},
        },
        (),
    )
    return make_run(prepare_run(config, "masks"), pool)


def test_a_resnet_makes_masks_without_refinement(resnet_settings, scene_photos):
    masker = clipes.Masker(classes=["dog", "cat"], clip={"device": "cpu", **resnet_settings})
    path = min((scene_photos / "JPEGImages").glob("*.jpg"))
    made = masker(path, ["dog"])
    assert masker.config.cam.refine == "none"
    assert made.mask.shape == Image.open(path).size[::-1]
    assert {*np.unique(made.mask)} <= {0, 1}


def test_a_refinement_that_a_resnet_lacks_is_refused(resnet_settings):
    with pytest.raises(ConfigError, match=r"^cam\.refine caa: RN50-quickgelu is a ResNet, which has no"):
        clipes.Masker(classes=["dog"], clip=resnet_settings, cam={"refine": "caa"})


def levels(png):
    return np.array(Image.open(io.BytesIO(png)))


def test_masks_equal_those_of_a_run(masker, made):
    rows, photos = made.rows("masks"), made.run.inputs.shards[0]
    assert len(photos) >= 3
    for photo in photos:
        labels = [masker.classes[class_id - 1] for class_id in photo.class_ids]
        found = masker(photo.uri, labels=labels)
        row = rows[photo.image_id]
        assert (found.mask == levels(row["mask_png"])).all(), photo.image_id
        assert (found.confidence == levels(row["confidence_png"]).astype(np.float32) / 255).all(), photo.image_id
        assert found.mask.shape == Image.open(photo.uri).size[::-1]
        assert list(found.class_ids.values()) == list(photo.class_ids)
        assert found.notes == tuple(made.rows("cams")[photo.image_id]["notes"])


def test_a_path_an_image_and_an_array_give_the_same_mask(masker, scene_photos):
    path = scene_photos / "JPEGImages" / "scene000.jpg"
    path = path if path.is_file() else sorted((scene_photos / "JPEGImages").glob("*.jpg"))[0]
    image = Image.open(path)
    masks = [masker(photo, "dog").mask for photo in (path, str(path), image, np.asarray(image.convert("RGB")))]
    assert all((mask == masks[0]).all() for mask in masks)


def test_cams_and_confidence_have_the_size_of_the_photo_and_lie_between_0_and_1(masker, large_scene):
    found = masker(large_scene, labels=["cat", "dog"])
    assert list(found.cams) == ["cat", "dog"]
    for each in (found.confidence, *found.cams.values()):
        assert each.shape == large_scene.size[::-1]
        assert each.dtype == np.float32
        assert 0 <= each.min() <= each.max() <= 1
    assert found.mask.dtype == np.uint8
    assert set(np.unique(found.mask)) <= {0, *found.class_ids.values()}
    assert any("reduced" in note for note in found.notes)


def test_a_photo_without_classes_is_background(masker, large_scene):
    found = masker(large_scene, labels=[])
    assert not found.mask.any()
    assert found.confidence.min() == 1
    assert found.cams == {}
    assert found.foreground == 0


def test_the_threads_of_torch_stay_as_they_were(masker, large_scene):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        masker(large_scene, "dog")
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_notebook_shows_the_photo_with_its_mask(masker, large_scene):
    found = masker(large_scene, "dog")
    shown = Image.open(io.BytesIO(found._repr_png_()))
    assert shown.size == found.image.size
    assert (np.asarray(shown) == np.asarray(found.overlay)).all()
    assert "labels=['dog']" in repr(found)


def test_show_draws_the_mask_the_confidence_and_each_cam(masker, large_scene, monkeypatch):
    plt.switch_backend("agg")
    plt.close("all")
    monkeypatch.setattr(plt, "show", lambda: None)
    found = masker(large_scene, ["cat", "dog"])
    found.show()
    titles = [axes.get_title() for axes in plt.gcf().axes]
    assert titles == ["Mask", "Confidence", "CAM of cat", "CAM of dog"]
    legend = plt.gcf().axes[0].get_legend()
    names = [text.get_text() for text in legend.get_texts()]
    palette = np.asarray(masker.vocabulary.palette) / 255
    for name, patch in zip(names, legend.get_patches(), strict=True):
        assert patch.get_facecolor()[:3] == pytest.approx(palette[masker.vocabulary.ids[name]])
    assert names == [name for name, class_id in masker.vocabulary.ids.items() if class_id in found.mask]
    plt.close("all")


def test_the_settings_of_the_model_come_with_it(masker):
    assert masker.config.cam.attention_blocks == 6
    assert masker.config.prompts.template == "a bright photo of a {}."
    assert clipes.Masker(model="demo", cam={"attention_blocks": 7}).config.cam.attention_blocks == 7


def test_a_masker_reads_a_config_file_and_keywords_replace_its_values(tmp_path):
    (tmp_path / "own.yaml").write_text(
        "name: own\ndataset: {format: scenes, classes: scenes}\nclip: {model: clipes-demo, pretrained: clipes-demo}\n"
        "crf: {enabled: false}\ncam: {power: 1}\n"
    )
    masker = clipes.Masker(config=tmp_path / "own.yaml", cam={"box_threshold": 0.6}, device="cpu")
    assert masker.classes[0] == clipes.Masker("scenes", model="demo").classes[0]
    cam = masker.config.cam
    assert (masker.config.crf.enabled, cam.power, cam.box_threshold, cam.attention_blocks) == (False, 1, 0.6, 6)
    again = clipes.Masker(config=masker.config, cam={"power": 0})
    assert (again.config.cam.power, again.config.cam.box_threshold, again.config.crf.enabled) == (0, 0.6, False)
    demo = {"clip": {"model": "clipes-demo", "pretrained": "clipes-demo"}}
    assert clipes.Masker(["dog", "kite"], config=demo).classes == ("dog", "kite")


def test_a_config_file_needs_no_data_set_and_no_name(tmp_path, monkeypatch):
    """Read a config whose photos are absent, and whose vocabulary and weights lie next to it."""
    (tmp_path / "configs").mkdir()
    shutil.copy(CLIP_MODELS / "clipes-demo.safetensors", tmp_path / "configs" / "own.safetensors")
    (tmp_path / "configs" / "pets.yaml").write_text("classes: [{name: dog}, {name: cat}]\nbackground_words: [grass]\n")
    config = tmp_path / "configs" / "own.yaml"
    config.write_text(
        "dataset: {root: absent, split: absent.txt, classes: pets.yaml}\n"
        "clip: {model: clipes-demo, pretrained: own.safetensors}\ncrf: {enabled: false}\n"
    )
    monkeypatch.chdir(tmp_path)
    masker = clipes.Masker(config="configs/own.yaml")
    assert masker.classes == ("dog", "cat")
    assert masker.config.clip.pretrained == str(tmp_path / "configs" / "own.safetensors")
    config.write_text(config.read_text().replace("pets.yaml", "dogs.yaml"))
    with pytest.raises(ConfigError, match=r"dataset\.classes: dogs\.yaml exists neither in the working directory"):
        clipes.Masker(config="configs/own.yaml")


def test_the_shipped_config_of_voc_makes_a_masker_without_the_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    masker = clipes.Masker(config=CONFIGS / "voc12.yaml", model="demo")
    assert masker.classes == clipes.Masker("voc12", model="demo").classes


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, r"labels: name the classes that the photo shows, such as labels=\['aeroplane'\]"),
        ("dgo", "labels: 'dgo' is no class of this masker; did you mean 'dog'?"),
        (["dog", "xyz"], "labels: 'xyz' is no class of this masker; the classes are aeroplane, "),
        ([3], "labels: 3 is no class of this masker"),
    ],
)
def test_wrong_labels_are_refused(masker, large_scene, labels, message):
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        masker(large_scene, labels)


@pytest.mark.parametrize(
    ("photo", "found"), [(3, "int"), (np.zeros((4, 4), np.uint8), r"\(4, 4\) uint8"), (np.zeros((4, 4, 3)), "float64")]
)
def test_a_photo_of_another_type_is_refused(masker, photo, found):
    with pytest.raises(UsageError, match=rf"photo: expected a path.*got .*{found}"):
        masker(photo, "dog")


def test_a_photo_that_cannot_be_read_is_an_error_that_names_it(masker, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    for name, reason in (("missing.jpg", "does not exist"), ("broken.jpg", "cannot be decoded")):
        with pytest.raises(PhotoError, match=rf"{name}.*{reason}"):
            masker(tmp_path / name, "dog")
    with pytest.raises(PhotoError, match="the image: photo is 1 x 1 px"):
        masker(Image.new("RGB", (1, 1)), "dog")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cma": {"power": 1}}, "^cma: unknown key"),
        ({"cam": {"pover": 1}}, r"^cam\.pover: unknown key; did you mean cam\.power"),
        ({"config": 3}, "^config: expected a path, a dict or a RunConfig, got int"),
        ({"prompts": {"template": "auto"}}, "^prompts.template is auto"),
        ({"classes": ["background"]}, "the background must not be a class"),
    ],
)
def test_wrong_settings_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        clipes.Masker(model="demo", **arguments)


def test_a_section_that_is_no_dict_is_a_config_error():
    with pytest.raises(ConfigError, match="cam: must be a section of keys and values"):
        clipes.Masker(model="demo", cam=3)
