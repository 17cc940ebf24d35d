"""The shipped MMSegmentation configs: the networks, batches and optimizers built from them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS, TRANSFORMS
from mmseg.utils import register_all_modules

from clipes_core.segmentation import CaffeResNet, MultiScaleEncoderDecoder, register_confidence_hooks

MMSEG = Path(__file__).parents[2] / "configs" / "mmseg"
NAMES = sorted(path.stem for path in MMSEG.glob("*.py"))
R101 = [name for name in NAMES if name.startswith("deeplabv2_r101")]
PRETRAINED_PARAMETERS = 42_500_160  # parameters of ResNet-101 without its classifier


def read(name: str) -> Config:
    register_all_modules()
    return Config.fromfile(MMSEG / f"{name}.py")


def meta_model(config: Config) -> torch.nn.Module:
    """Build the model on the meta device, where tensors have shapes but no memory."""
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
    """Return the batch that the config's pipeline and preprocessor make from photos."""
    with DefaultScope.overwrite_default_scope("mmseg"):
        pipeline = TRANSFORMS.build({"type": "Compose", "transforms": config.train_pipeline})
        samples = [pipeline(one) for one in photos]
        preprocessor = MODELS.build(config.model.data_preprocessor)
    return preprocessor({key: [sample[key] for sample in samples] for key in samples[0]}, training=True)


def test_all_documented_configs_exist():
    assert set(NAMES) >= {"deeplabv2_r101_voc12", "deeplabv2_r101_voc12_coco_init", "deeplabv2_r101_coco14", "demo"}


@pytest.mark.parametrize("name", NAMES)
def test_each_config_builds_a_model_and_makes_batches(name):
    config = read(name)
    model = meta_model(config)
    batch = packed(config, photo(90, 130), photo(501, 375))

    size = tuple(config.model.data_preprocessor.size)
    assert batch["inputs"].shape == (2, 3, *size)
    assert {tuple(sample.gt_sem_seg.shape) for sample in batch["data_samples"]} == {size}
    assert register_confidence_hooks(model)
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
def test_iterations_and_learning_rates_equal_the_published_ones(name, steps, rate):
    config = read(name)
    assert config.train_cfg.max_iters / config.optim_wrapper.accumulative_counts == steps
    assert config.train_batch_size * config.optim_wrapper.accumulative_counts == 10
    assert config.optim_wrapper.optimizer.lr == rate


def test_deeplabv2_r101_has_the_expected_number_of_parameters():
    model = meta_model(read("deeplabv2_r101_voc12"))
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
def test_the_output_stride_is_8_even_at_odd_sizes(name, size, reduced):
    model = meta_model(read(name))
    assert model(torch.empty(1, 3, *size, device="meta")).shape == (1, 21, *reduced)


@pytest.mark.parametrize("name", R101)
def test_the_head_has_higher_learning_rates_and_biases_without_decay(name):
    config = read(name)
    model = meta_model(config)
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


def test_batch_norm_is_frozen_during_training():
    model = meta_model(read("deeplabv2_r101_voc12")).train()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]

    assert len(norms) == 104
    assert not any(norm.training or norm.weight.requires_grad or norm.bias.requires_grad for norm in norms)
    assert all(weight.requires_grad for name, weight in model.named_parameters() if "conv" in name)


@pytest.mark.parametrize(
    ("name", "bgr_of_padding"),
    [("deeplabv2_r101_voc12", (103.53, 116.28, 123.675)), ("deeplabv2_r101_caffe_voc12", (104.008, 116.669, 122.675))],
)
def test_photos_are_padded_with_the_mean_and_labels_with_255(name, bgr_of_padding):
    config = read(name)
    config.train_pipeline = [{"type": "PackConfidence"}]
    batch = packed(config, photo(320, 321))

    preprocessor = config.model.data_preprocessor
    means = preprocessor.mean[::-1] if preprocessor.bgr_to_rgb else preprocessor.mean
    assert tuple(means) == bgr_of_padding
    assert (batch["inputs"][0, :, 320] == 0).all()  # the mean after its subtraction
    assert (batch["data_samples"][0].gt_sem_seg.data[0, 320] == 255).all()


def test_variant_configs_build_their_variant_classes():
    assert isinstance(meta_model(read("deeplabv2_r101_voc12_msc")), MultiScaleEncoderDecoder)
    assert isinstance(meta_model(read("deeplabv2_r101_voc12_coco_init")).backbone, CaffeResNet)
    assert not isinstance(meta_model(read("deeplabv2_r101_coco14")).backbone, CaffeResNet)


def test_the_example_trains_both_heads_with_the_confidence_guided_loss():
    config = read("own_config_example")
    config.model.data_preprocessor.size = config.train_pipeline[1].crop_size = (64, 64)
    model = MODELS.build(config.model)
    register_confidence_hooks(model)

    losses = model(**packed(config, photo(90, 130), photo(64, 70)), mode="loss")

    assert losses["decode.loss_cgl"] > 0
    assert losses["aux.loss_cgl"] > 0
    assert 0 < model.auxiliary_head.loss_decode.kept_fraction < 1
