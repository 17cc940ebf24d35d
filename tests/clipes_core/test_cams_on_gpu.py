"""The way from the upload of a batch to the download of its CAMs, on a GPU that has no values to read."""

import numpy as np
import pytest
import torch
from PIL import Image
from support.cam_cases import CLASS_IDS, features_of
from support.fake_gpu import fake_gpu
from support.small_resnets import resnet_architecture, resnet_clip
from support.tiny_networks import tiny_visual

from clipes_core.backbones.resnet import ResNetBackbone
from clipes_core.backbones.vit import VitBackbone
from clipes_core.cams import cams_of_batch, photo_cams
from clipes_core.config.pseudo_masks import CamConfig, PromptsConfig
from clipes_core.device import finish
from clipes_core.text_features import TextFeatures
from clipes_core.views import Viewer, list_views

SYNONYMS = np.array([1, 1, 2, 3, 3, 3, 0, 0])
CLASSES = ([1], [2, 3], [3, 1, 2])  # of three photos: one, two and three classes; each photo is repeated
with_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def texts_of(ids):
    random = np.random.default_rng(0).standard_normal((len(ids), 16)).astype(np.float32)
    return TextFeatures(ids, random / np.linalg.norm(random, axis=1, keepdims=True), 100.0)


def tiny_vit(**settings):
    return VitBackbone(tiny_visual(), **settings)


def tiny_resnet():
    return ResNetBackbone(resnet_clip(architecture={**resnet_architecture(), "embed_dim": 16}).visual, "attention")


def cams_on_fake_gpu(
    monkeypatch, batch, templates=1, ids=SYNONYMS, cam=None, device="cuda", backbone=tiny_vit, **settings
):
    """Compute the CAMs of a batch, and return the numbers of launches, downloads and steps, and the CAMs."""
    config = CamConfig(attention_blocks=3, **cam or {})
    network = backbone(**settings)
    viewer = Viewer(list_views(config), network.patch_size)
    photos = [viewer.show(Image.new("RGB", (40, 30), (number, 90, 120))) for number in range(batch)]
    class_ids = [CLASSES[number % len(CLASSES)] for number in range(batch)]
    monkeypatch.setattr("clipes_core.cams.average_maps", lambda maps, *_: maps[0])  # happens on the host, in torch
    with fake_gpu(monkeypatch, network, device) as gpu:
        job, steps = cams_of_batch(network, [texts_of(ids)] * templates, photos, class_ids, config), 0
        while True:
            try:
                next(job)
                steps += 1
            except StopIteration as end:
                return gpu.launches.count, gpu.downloads, steps, end.value


CASES = {
    "caa": {},
    "mhsa": {"cam": {"refine": "mhsa"}},
    "none": {"cam": {"refine": "none"}},
    "logits": {"cam": {"softmax": False}},
    "six views": {"cam": {"scales": (0.5, 1.0, 1.5), "flip": True}},
    "class token": {"pooling": "cls", "device": "cpu"},
    "resnet": {"backbone": tiny_resnet, "device": "cpu", "cam": {"refine": "none"}},
    "one text per class": {"ids": np.array([1, 2, 3, 0])},
    "three templates": {"templates": 3},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "fast": {"precision": "fast"},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_value_is_read_within_a_batch_and_the_launches_do_not_depend_on_its_size(case, monkeypatch):
    counts = set()
    for batch in (6, 24):
        launches, downloads, steps, found = cams_on_fake_gpu(monkeypatch, batch, **case)
        assert [len(cams[0].cam) for cams in found] == [1, 2, 3] * (batch // 3)
        counts.add((launches, downloads, steps))
    assert len(counts) == 1, counts
    ((launches, downloads, steps),) = counts
    views = len(list_views(CamConfig(**case.get("cam", {}))))
    if case.get("cam", {}).get("refine") == "none" and "device" not in case:  # it returns its result on the host
        assert downloads == views
    else:
        assert downloads == 2 * views * case.get("templates", 1)  # the initial CAMs, and the refined ones
    assert steps == views + 1
    assert launches > 100


def test_each_different_number_of_classes_adds_the_same_number_of_launches(monkeypatch):
    monkeypatch.setattr(f"{__name__}.CLASSES", ([1], [1], [1]))
    same, *_ = cams_on_fake_gpu(monkeypatch, 6)
    monkeypatch.undo()
    different, *_ = cams_on_fake_gpu(monkeypatch, 6)
    assert same < different < 3 * same


@with_gpu
@pytest.mark.parametrize("cam", [{}, {"refine": "mhsa", "flip": True}, {"refine": "none"}])
def test_a_gpu_gives_the_same_cams_as_a_cpu(model, photo, cam):
    texts, config = features_of(model, PromptsConfig(fusion="cam")), CamConfig(**cam)
    photos, class_ids = [photo, photo.rotate(180), photo], [CLASS_IDS, [4], [2, 1]]
    viewer = Viewer(list_views(config), 16)
    on_gpu = VitBackbone(model.visual, device="cuda")
    found = finish(cams_of_batch(on_gpu, [texts], [viewer.show(each) for each in photos], class_ids, config))
    expected = photo_cams(VitBackbone(model.visual), texts, photos, class_ids, config)
    for (one,), other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        np.testing.assert_allclose(one.cam, other.cam, atol=1e-3)
        assert (np.abs(one.refined_cam - other.refined_cam) <= 1e-3).mean() >= 0.99  # a box may move by one patch
