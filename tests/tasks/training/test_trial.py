import sys
from pathlib import Path

import mmseg
import pytest
import torch
from support.small_runs import TINY_NETWORK

from clipes.tasks.machine.shipped_files import MMSEG_CONFIGS
from clipes.tasks.training.recipes import read_recipe
from clipes.tasks.training.trial import try_recipe
from clipes_core.config.run import parse_config
from clipes_core.errors import ConfigError

STOCK = Path(mmseg.__file__).parent / ".mim" / "configs"
OWN_TRANSFORM = """
from mmseg.registry import TRANSFORMS

@TRANSFORMS.register_module(name="{name}")
class Own:
    def __call__(self, results):
        {does}
"""
OWN_MODULE = """
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS

@MODELS.register_module()
class {name}(FCNHead):
    def forward(self, inputs):
        logits = super().forward(inputs)
        return (logits, logits) if self.training else logits

    def loss_by_feat(self, logits, samples):
        return super().loss_by_feat(logits[1], samples)
"""


NARROW_DEEPLABV2 = """
model = dict(backbone=dict(base_channels=4, stem_channels=4), decode_head=dict(in_channels=128))
"""
NARROW_DEEPLABV3PLUS = """
model = dict(
    backbone=dict(base_channels=4, stem_channels=8),
    decode_head=dict(in_channels=128, channels=16, c1_in_channels=16, c1_channels=4),
    auxiliary_head=dict(in_channels=64, channels=16),
)
"""


def narrowed(folder, base, lines):
    """Write a config with fewer channels, so that the test is faster, and return its path."""
    path = folder / "narrow.py"
    path.write_text(f"_base_ = {str(base)!r}\n{lines}")
    return path


def tried(path, **train):
    values = {"name": "r", "dataset": {"root": "/"}, "train": {"mmseg_config": str(path), "init": "none", **train}}
    try_recipe(read_recipe(parse_config(values), 9, "fp32"), 9)


def test_the_demo_config_passes():
    tried("demo")


@pytest.mark.parametrize("name", ["deeplabv2_r101_voc12_msc", "deeplabv2_r101_caffe_voc12"])
def test_shipped_configs_pass(tmp_path, name):
    tried(narrowed(tmp_path, MMSEG_CONFIGS / f"{name}.py", NARROW_DEEPLABV2))


@pytest.mark.parametrize(
    "name",
    [
        "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512",
        "mobilenet_v3/mobilenet-v3-d8_lraspp_4xb4-320k_cityscapes-512x1024",
    ],
)
def test_stock_configs_pass(name):
    tried(STOCK / f"{name}.py")


def test_a_stock_config_with_an_auxiliary_head_passes(tmp_path):
    name = "deeplabv3plus/deeplabv3plus_r50-d8_4xb4-20k_voc12aug-512x512"
    tried(narrowed(tmp_path, STOCK / f"{name}.py", NARROW_DEEPLABV3PLUS))


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        ("network, with the run's classes and losses,", "model = dict(backbone=dict(depth=19))"),
        ("optim_wrapper", 'optim_wrapper = dict(optimizer=dict(type="Nonesuch"))'),
        ("param_scheduler", 'param_scheduler = [dict(type="Nonesuch", by_epoch=False)]'),
        ("custom_hooks", 'custom_hooks = [dict(type="Nonesuch")]'),
        ("train_pipeline", 'train_pipeline = [dict(type="Nonesuch")]'),
    ],
)
def test_a_part_that_cannot_be_built_is_a_config_error(tiny_config, what, lines):
    with pytest.raises(ConfigError, match=rf"^train\.mmseg_config: its {what} cannot be built: "):
        tried(tiny_config(lines))


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        ("network", "model = dict(decode_head=dict(in_channels=7))"),
        ("train_pipeline", 'train_pipeline = [dict(type="CenterCrop", crop_size=(32, 32))]'),
        ("train_pipeline", 'train_pipeline = [dict(type="RandomMosaic", prob=1.0)]'),
    ],
)
def test_a_part_that_fails_only_when_used_is_a_config_error(tiny_config, what, lines):
    with pytest.raises(ConfigError, match=rf"^train\.mmseg_config: its {what} cannot be (used|trained with a .*): "):
        tried(tiny_config(lines))


@pytest.mark.parametrize(
    ("name", "does", "accepted"),
    [
        ("SkipsAll", "return None", True),
        ("SkipsPhotosThatBeginWithBackground", "return results if results['gt_seg_map'][0, 0] else None", True),
        ("FlipsLabels", "return {**results, 'gt_seg_map': results['gt_seg_map'][:, ::-1].copy()}", False),
    ],
)
def test_user_transforms_may_skip_photos_but_must_update_confidence(
    tiny_config, tmp_path, monkeypatch, name, does, accepted
):
    (tmp_path / f"{name.lower()}.py").write_text(OWN_TRANSFORM.format(name=name, does=does))
    monkeypatch.syspath_prepend(tmp_path)
    path = tiny_config(
        f'custom_imports = dict(imports="{name.lower()}")\n'
        f'train_pipeline = [dict(type="{name}"), dict(type="RandomCrop", crop_size=(48, 48))]'
    )
    if accepted:
        tried(path)
    else:
        with pytest.raises(ConfigError, match="moves labels but not the confidence map"):
            tried(path)


def test_a_user_module_is_found_if_the_config_imports_it(tiny_config, tmp_path, monkeypatch):
    (tmp_path / "a_module_of_my_own.py").write_text(OWN_MODULE.format(name="HeadOfMyOwn"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "a_module_of_my_own", raising=False)
    imports = 'custom_imports = dict(imports="a_module_of_my_own")\n'
    tried(tiny_config(f'{imports}model = dict(decode_head=dict(type="HeadOfMyOwn"))'))


def test_usual_initialisations_and_padding_inside_a_choice_pass(tiny_config):
    tried(tiny_config('model = dict(decode_head=dict(init_cfg=dict(type="Normal", std=0.01)))'))
    padding = 'dict(type="RandomApply", prob=1.0, transforms=[dict(type="Pad", size=(600, 600))])'
    tried(tiny_config(f'train_pipeline = [{padding}, dict(type="RandomCrop", crop_size=(48, 48))]'))


def test_the_random_state_is_restored():
    before = torch.get_rng_state()
    tried(TINY_NETWORK)
    assert torch.equal(torch.get_rng_state(), before)
