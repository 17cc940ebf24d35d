"""The MMSegmentation configs that are shipped: what they build is what the recipe says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS, TRANSFORMS
from mmseg.utils import register_all_modules

from clipes_core.segmentation import CaffeResNet, MultiScaleEncoderDecoder, hand_over_confidence

MMSEG = Path(__file__).parents[2] / "configs" / "mmseg"
NAMES = sorted(path.stem for path in MMSEG.glob("*.py"))
R101 = [name for name in NAMES if name.startswith("deeplabv2_r101")]
PRETRAINED_PARAMETERS = 42_500_160  # of ResNet-101 without its classifier


def read(name: str) -> Config:
    register_all_modules()
    return Config.fromfile(MMSEG / f"{name}.py")


def without_memory(config: Config) -> torch.nn.Module:
    """The model with shapes only."""
    with torch.device("meta"):
        return MODELS.build(config.model)


def photo(height: int, width: int) -> dict:
    draw = np.random.default_rng(0)
    return {
        "img": draw.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "img_shape": (height, width),
        "gt_seg_map": draw.integers(0, 9, (height, width), dtype=np.uint8),
        "gt_confidence": draw.integers(200, 256, (height, width), dtype=np.uint8),
        "seg_fields": ["gt_seg_map", "gt_confidence"],
        "reduce_zero_label": False,
    }


def packed(config: Config, *photos: dict) -> dict:
    """What the config's pipeline and preprocessor make of a batch."""
    with DefaultScope.overwrite_default_scope("mmseg"):
        pipeline = TRANSFORMS.build({"type": "Compose", "transforms": config.train_pipeline})
        samples = [pipeline(one) for one in photos]
        preprocessor = MODELS.build(config.model.data_preprocessor)
    return preprocessor({key: [sample[key] for sample in samples] for key in samples[0]}, training=True)


def test_all_documented_configs_exist():
    assert set(NAMES) >= {"deeplabv2_r101_voc12", "deeplabv2_r101_voc12_coco_init", "deeplabv2_r101_coco14", "demo"}


@pytest.mark.parametrize("name", NAMES)
def test_each_config_builds_and_makes_batches(name):
    config = read(name)
    model = without_memory(config)
    batch = packed(config, photo(90, 130), photo(501, 375))

    size = tuple(config.model.data_preprocessor.size)
    assert batch["inputs"].shape == (2, 3, *size)
    assert {tuple(sample.gt_sem_seg.shape) for sample in batch["data_samples"]} == {size}
    assert hand_over_confidence(model)
    assert {"type": "ConfidenceHook"} in config.custom_hooks
    assert config.param_scheduler[-1].end == config.train_cfg.max_iters
    if name in R101:
        assert "dataset" not in config.pretty_text


@pytest.mark.parametrize(
    ("name", "steps", "rate"),
    [
        ("deeplabv2_r101_voc12", 20_000, 2e-4),
        ("deeplabv2_r101_voc12_coco_init", 20_000, 2.5e-5),
        ("deeplabv2_r101_coco14", 100_000, 2e-4),
    ],
)
def test_iterations_and_rates_are_the_papers(name, steps, rate):
    config = read(name)
    assert config.train_cfg.max_iters / config.optim_wrapper.accumulative_counts == steps
    assert config.train_batch_size * config.optim_wrapper.accumulative_counts == 10
    assert config.optim_wrapper.optimizer.lr == rate


def test_parameters_of_deeplabv2_r101():
    model = without_memory(read("deeplabv2_r101_voc12"))
    backbone, head = (sum(each.numel() for each in part.parameters()) for part in (model.backbone, model.decode_head))

    assert backbone == PRETRAINED_PARAMETERS
    assert head == 4 * (2048 * 9 * 21 + 21)
    assert round((backbone + head) / 1e6, 2) == 44.05


@pytest.mark.parametrize(
    ("name", "size", "reduced"),
    [
        ("deeplabv2_r101_voc12", (321, 321), (41, 41)),
        ("deeplabv2_r101_voc12", (97, 65), (13, 9)),
        ("deeplabv2_r101_voc12", (320, 500), (40, 63)),
        ("deeplabv2_r101_caffe_voc12", (321, 321), (41, 41)),
        ("deeplabv2_r101_caffe_voc12", (320, 500), (41, 63)),
    ],
)
def test_output_stride_is_8_at_odd_sizes_too(name, size, reduced):
    model = without_memory(read(name))
    assert model(torch.empty(1, 3, *size, device="meta")).shape == (1, 21, *reduced)


@pytest.mark.parametrize("name", R101)
def test_rates_of_the_head_and_no_decay_of_its_biases(name):
    config = read(name)
    model = without_memory(config)
    rate = config.optim_wrapper.optimizer.lr
    names = {parameter: each for each, parameter in model.named_parameters()}

    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups

    found = {names[group["params"][0]]: (group["lr"], group["weight_decay"]) for group in groups}
    assert found.keys() == {each for each, parameter in model.named_parameters() if parameter.requires_grad}
    for each, settings in found.items():
        if not each.startswith("decode_head"):
            assert settings == (rate, 5e-4)
        elif each.endswith("weight"):
            assert settings == pytest.approx((10 * rate, 5e-4))
        else:
            assert settings == pytest.approx((20 * rate, 0))


def test_batch_norm_is_frozen_while_training():
    model = without_memory(read("deeplabv2_r101_voc12")).train()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]

    assert len(norms) == 104
    assert not any(norm.training or norm.weight.requires_grad or norm.bias.requires_grad for norm in norms)
    assert all(weight.requires_grad for name, weight in model.named_parameters() if "conv" in name)


@pytest.mark.parametrize(
    ("name", "bgr_of_padding"),
    [("deeplabv2_r101_voc12", (103.53, 116.28, 123.675)), ("deeplabv2_r101_caffe_voc12", (104.008, 116.669, 122.675))],
)
def test_padding_is_the_mean(name, bgr_of_padding):
    config = read(name)
    config.train_pipeline = [{"type": "PackConfidence"}]
    batch = packed(config, photo(320, 321))

    preprocessor = config.model.data_preprocessor
    means = preprocessor.mean[::-1] if preprocessor.bgr_to_rgb else preprocessor.mean
    assert tuple(means) == bgr_of_padding
    assert (batch["inputs"][0, :, 320] == 0).all()  # the mean, once it is subtracted
    assert (batch["data_samples"][0].gt_sem_seg.data[0, 320] == 255).all()


def test_variants_are_of_their_kind():
    assert isinstance(without_memory(read("deeplabv2_r101_voc12_msc")), MultiScaleEncoderDecoder)
    assert isinstance(without_memory(read("deeplabv2_r101_voc12_coco_init")).backbone, CaffeResNet)
    assert not isinstance(without_memory(read("deeplabv2_r101_coco14")).backbone, CaffeResNet)


def test_the_example_trains_both_its_heads_by_confidence():
    config = read("own_config_example")
    config.model.data_preprocessor.size = config.train_pipeline[1].crop_size = (64, 64)
    model = MODELS.build(config.model)
    hand_over_confidence(model)

    losses = model(**packed(config, photo(90, 130), photo(64, 70)), mode="loss")

    assert losses["decode.loss_cgl"] > 0
    assert losses["aux.loss_cgl"] > 0
    assert 0 < model.auxiliary_head.loss_decode.kept_fraction < 1
