import sys
from pathlib import Path

import mmseg
import pytest
import torch
from support.small_runs import TINY_NETWORK

from clipes.tasks.training.building import try_recipe
from clipes.tasks.training.recipes import read_recipe
from clipes_core.config.run import parse_config
from clipes_core.errors import ConfigError, WeightsError

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


def tried(path, **train):
    values = {"name": "r", "dataset": {"root": "/"}, "train": {"mmseg_config": str(path), "init": "none", **train}}
    try_recipe(read_recipe(parse_config(values), 9, "fp32"), 9)


@pytest.fixture
def own(tmp_path):
    """The path of the tiny network's config with some lines more."""

    def own(lines):
        (tmp_path / "own.py").write_text(f"_base_ = {str(TINY_NETWORK)!r}\n{lines}\n")
        return tmp_path / "own.py"

    return own


@pytest.mark.parametrize("name", ["demo", "deeplabv2_r101_voc12_msc", "deeplabv2_r101_caffe_voc12"])
def test_what_is_shipped_can_be_built(name):
    tried(name)


@pytest.mark.parametrize(
    "name",
    [
        "deeplabv3plus/deeplabv3plus_r50-d8_4xb4-20k_voc12aug-512x512",
        "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512",
        "mobilenet_v3/mobilenet-v3-d8_lraspp_4xb4-320k_cityscapes-512x1024",
    ],
)
def test_stock_configs_can_be_built(name):
    tried(STOCK / f"{name}.py")


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
def test_a_part_that_cannot_be_built_is_told_as_the_configs_fault(own, what, lines):
    with pytest.raises(ConfigError, match=rf"^train\.mmseg_config: its {what} cannot be built: "):
        tried(own(lines))


def test_a_module_that_cannot_be_imported_is_told(own):
    with pytest.raises(ConfigError, match=r"^train\.mmseg_config: its custom_imports cannot be imported: ImportError"):
        tried(own('custom_imports = dict(imports=["nonesuch"])'))


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        ("network", "model = dict(decode_head=dict(in_channels=7))"),
        ("train_pipeline", 'train_pipeline = [dict(type="CenterCrop", crop_size=(32, 32))]'),
        ("train_pipeline", 'train_pipeline = [dict(type="RandomMosaic", prob=1.0)]'),
    ],
)
def test_what_shows_only_on_use_is_told_too(own, what, lines):
    with pytest.raises(ConfigError, match=rf"^train\.mmseg_config: its {what} cannot be used: "):
        tried(own(lines))


@pytest.mark.parametrize(
    ("name", "does", "borne"),
    [
        ("SkipsAll", "return None", True),
        ("SkipsWhatBeginsWithBackground", "return results if results['gt_seg_map'][0, 0] else None", True),
        ("FlipsLabels", "return {**results, 'gt_seg_map': results['gt_seg_map'][:, ::-1].copy()}", False),
    ],
)
def test_transforms_of_the_users_own_may_skip_photos_and_not_leave_confidence_behind(
    own, tmp_path, monkeypatch, name, does, borne
):
    (tmp_path / f"{name.lower()}.py").write_text(OWN_TRANSFORM.format(name=name, does=does))
    monkeypatch.syspath_prepend(tmp_path)
    path = own(
        f'custom_imports = dict(imports="{name.lower()}")\n'
        f'train_pipeline = [dict(type="{name}"), dict(type="RandomCrop", crop_size=(48, 48))]'
    )
    if borne:
        tried(path)
    else:
        with pytest.raises(ConfigError, match="moves labels without their confidence"):
            tried(path)


def test_ordinary_initialisations_and_padding_among_choices_can_be_used(own):
    tried(own('model = dict(decode_head=dict(init_cfg=dict(type="Normal", std=0.01)))'))
    padding = 'dict(type="RandomApply", prob=1.0, transforms=[dict(type="Pad", size=(600, 600))])'
    tried(own(f'train_pipeline = [{padding}, dict(type="RandomCrop", crop_size=(48, 48))]'))


def test_a_model_that_could_not_be_loaded_again_is_refused(own):
    with pytest.raises(ConfigError, match="its model could not be loaded again: 1 is a key, and no text"):
        tried(own('model = dict(test_cfg=dict(mode="whole", names={1: "one"}))'))


def test_a_module_that_nothing_registers_is_named(own):
    with pytest.raises(ConfigError, match=r"^train\.mmseg_config: its model names 'NoHead', which MMSegmentation does"):
        tried(own('model = dict(decode_head=dict(type="NoHead"))'))


def test_a_module_of_the_users_own_is_known_where_the_config_imports_it(own, tmp_path, monkeypatch):
    (tmp_path / "a_module_of_my_own.py").write_text(OWN_MODULE.format(name="HeadOfMyOwn"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "a_module_of_my_own", raising=False)
    imports = 'custom_imports = dict(imports="a_module_of_my_own")\n'
    tried(own(f'{imports}model = dict(decode_head=dict(type="HeadOfMyOwn"))'))


def test_initial_weights_of_another_network_are_told(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"weights\.pth: expected weights of the network that is trained, it lacks"):
        tried(TINY_NETWORK, init=str(tmp_path / "weights.pth"))


def test_the_random_state_is_left_as_it_was():
    before = torch.get_rng_state()
    tried(TINY_NETWORK)
    assert torch.equal(torch.get_rng_state(), before)
