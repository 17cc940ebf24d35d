from pathlib import Path

import mmseg
import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules
from support.small_runs import TINY_NETWORK

import clipes_core.segmentation  # noqa: F401 - registers what recipes name
from clipes.tasks.machine.shipped import MMSEG_CONFIGS
from clipes.tasks.training.recipes import read_recipe
from clipes_core.config.run import parse_config
from clipes_core.errors import ConfigError, WeightsError

STOCK = Path(mmseg.__file__).parent / ".mim" / "configs"
SHIPPED_NAMES = sorted(path.stem for path in MMSEG_CONFIGS.glob("*.py"))
PARTS = """
model = dict(type="EncoderDecoder", backbone=dict(type="ResNet", depth=18), decode_head=dict(type="FCNHead"))
train_pipeline = [dict(type="RandomFlip", prob=0.5), dict(type="PackSegInputs")]
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1))
train_cfg = dict(max_iters=100)
"""


def recipe_of(path, classes=9, precision="fp32", exif="ignore", **train):
    values = {"name": "r", "dataset": {"root": "/", "exif": exif}, "train": {"mmseg_config": str(path), **train}}
    return read_recipe(parse_config(values), classes, precision)


@pytest.fixture
def made(tmp_path):
    """The recipe of a config that is `PARTS` and some lines more, from nothing unless told otherwise."""

    def made(lines="", **train):
        path = tmp_path / "own.py"
        path.write_text(PARTS + lines)
        return recipe_of(path, **{"init": "none", **train})

    return made


def fault(made, lines, **train):
    with pytest.raises(ConfigError) as caught:
        made(lines, **train)
    return str(caught.value)


def loss(mu, weight=1.0, name="loss_cgl"):
    return {"type": "ConfidenceGuidedLoss", "mu": mu, "loss_weight": weight, "loss_name": name}


def test_a_head_gets_the_runs_classes_and_loss(made):
    head = made('model["decode_head"].update(num_classes=21, out_channels=21, threshold=0.3)\n').model["decode_head"]
    assert head == {"type": "FCNHead", "num_classes": 9, "ignore_index": 255, "loss_decode": loss(0.95)}


def test_all_heads_keep_the_weights_of_their_losses(made):
    model = made(
        """
model["decode_head"] = [dict(type="FCNHead"), dict(type="OCRHead", loss_decode=dict(type="DiceLoss", loss_weight=0.5))]
model["auxiliary_head"] = [
    dict(type="FCNHead", loss_decode=dict(type="CrossEntropyLoss", loss_weight=0.4)),
    dict(type="FCNHead", loss_decode=[dict(type="CrossEntropyLoss", loss_weight=0.2), dict(type="DiceLoss")]),
]
"""
    ).model
    assert [head["loss_decode"] for head in model["decode_head"]] == [loss(0.95), loss(0.95, 0.5)]
    assert [head["loss_decode"] for head in model["auxiliary_head"]] == [loss(0.95, 0.4), loss(0.95, 0.2)]
    assert {head["num_classes"] for head in (*model["decode_head"], *model["auxiliary_head"])} == {9}


@pytest.mark.parametrize(
    ("train", "mu", "name", "ignore_below"),
    [
        ({}, 0.95, "loss_cgl", None),
        ({"mu": 0.7}, 0.7, "loss_cgl", None),
        ({"mu": "labels"}, 0.0, "loss_cgl", 0.95),
        ({"loss": "ce"}, 0.0, "loss_ce", None),
        ({"loss": "ce", "mu": 0.7}, 0.0, "loss_ce", None),
        ({"loss": "ce", "mu": "labels"}, 0.0, "loss_ce", None),
    ],
)
def test_confidence_counts_in_the_loss_in_the_labels_or_not_at_all(made, train, mu, name, ignore_below):
    recipe = made(**train)
    assert recipe.model["decode_head"]["loss_decode"] == loss(mu, name=name)
    assert recipe.ignore_below == ignore_below


@pytest.mark.parametrize(
    ("lines", "init"),
    [
        ("", "none"),
        ('model["pretrained"] = "torchvision://resnet18"\n', "torchvision://resnet18"),
        (
            'model["backbone"]["init_cfg"] = dict(type="Pretrained", checkpoint="torchvision://resnet34")\n',
            "torchvision://resnet34",
        ),
        ('model["backbone"]["init_cfg"] = dict(type="Normal", layer="Conv2d")\n', "none"),
        ('model["backbone"]["init_cfg"] = [dict(type="Normal", layer="Conv2d")]\n', "none"),
    ],
)
def test_the_configs_own_initial_weights_count_where_the_run_names_none(made, torchvision_home, lines, init):
    recipe = made(lines, init=None)
    assert recipe.init == init
    assert "pretrained" not in recipe.model
    own = recipe.model["backbone"].get("init_cfg")
    assert own is None or "Pretrained" not in str(own)
    assert made(lines, init="none").init == "none"


@pytest.fixture
def torchvision_home(tmp_path, monkeypatch):
    """Torch's cache, with the names of two files: what a recipe reads of them."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("resnet18-f37072fd.pth", "resnet34-b627a593.pth"):
        (folder / name).touch()


def test_the_name_of_torchvisions_file_is_the_digest(made, torchvision_home):
    assert made(init="torchvision://resnet18").inputs == ("ignore", "resnet18-f37072fd.pth")


def test_weights_of_another_library_are_to_be_named_as_a_file(made):
    with pytest.raises(WeightsError, match=r"^train\.init open-mmlab://resnet50_v1c: expected a readable file"):
        made('model["pretrained"] = "open-mmlab://resnet50_v1c"\n', init=None)


def test_photos_come_from_the_run_and_are_padded_and_packed_with_confidence(made):
    recipe = made(
        """
del train_pipeline
train_dataloader = dict(batch_size=6, dataset=dict(type="ADE20KDataset", data_root="x", pipeline=[
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", reduce_zero_label=True),
    dict(type="RandomCrop", crop_size=(32, 32), cat_max_ratio=0.75),
    dict(type="Pad", size=(32, 32)),
    dict(type="PackSegInputs"),
]))
"""
    )
    assert recipe.pipeline == (
        {"type": "RandomCrop", "crop_size": (32, 32), "cat_max_ratio": 0.75},
        {"type": "PadWithConfidence", "size": (32, 32)},
        {"type": "PackConfidence"},
    )
    assert recipe.batch_size == 6


def test_packing_with_confidence_already_is_done_once(made):
    recipe = made('train_pipeline = [dict(type="RandomFlip", prob=0.5), dict(type="PackConfidence")]\n')
    assert [each["type"] for each in recipe.pipeline] == ["RandomFlip", "PackConfidence"]


@pytest.mark.parametrize(
    ("lines", "size"),
    [
        ("", 1),
        ("train_batch_size = 5\n", 5),
        ("train_dataloader = dict(batch_size=3)\n", 3),
        ("train_batch_size = 5\ntrain_dataloader = dict(batch_size=3)\n", 5),
    ],
)
def test_the_batch_is_the_configs(made, lines, size):
    assert made(lines).batch_size == size


def test_labels_are_padded_with_255(made):
    assert made().model["data_preprocessor"] == {"type": "SegDataPreProcessor", "seg_pad_val": 255}
    own = 'model["data_preprocessor"] = dict(type="SegDataPreProcessor", size=(8, 8), seg_pad_val=0)\n'
    assert made(own).model["data_preprocessor"]["seg_pad_val"] == 255


def test_precision_is_the_runs(made):
    amp = 'type="AmpOptimWrapper", dtype="bfloat16", loss_scale="dynamic", accumulative_counts=2'
    assert made(f"optim_wrapper.update({amp})\n").optim_wrapper == {
        "type": "OptimWrapper",
        "optimizer": {"type": "SGD", "lr": 0.1},
        "accumulative_counts": 2,
    }


SCHEDULE = """
param_scheduler = [
    dict(type="LinearLR", begin=0, end=20, by_epoch=False),
    dict(type="CosineAnnealingLR", begin=20, end=100, T_max=80, by_epoch=False),
]
"""


@pytest.mark.parametrize(("iterations", "bounds"), [(None, [20, 20, 100, 80]), (100, [20, 20, 100, 80])])
def test_a_schedule_stays_where_the_iterations_do(made, iterations, bounds):
    assert bounds_of(made(SCHEDULE, iterations=iterations)) == [0, *bounds]


def test_a_schedule_is_stretched_with_the_iterations(made):
    recipe = made(SCHEDULE, iterations=250)
    assert recipe.iterations == 250
    assert bounds_of(recipe) == [0, 50, 50, 250, 200]


def bounds_of(recipe):
    first, second = recipe.param_scheduler
    return [first["begin"], first["end"], second["begin"], second["end"], second["T_max"]]


def test_one_scheduler_may_stand_alone(made):
    recipe = made('param_scheduler = dict(type="PolyLR", end=100, by_epoch=False)\n', iterations=10)
    assert recipe.param_scheduler == ({"type": "PolyLR", "end": 10, "by_epoch": False},)


def test_own_hooks_stay_and_that_of_confidence_is_the_runs(made):
    assert made('custom_hooks = [dict(type="ConfidenceHook"), dict(type="EMAHook")]\n').hooks == ({"type": "EMAHook"},)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("del model\n", "has no model with a decode_head"),
        ('del model["decode_head"]\n', "has no model with a decode_head"),
        ("del train_pipeline\n", "has no train_pipeline"),
        ("del optim_wrapper\n", "has no optim_wrapper.optimizer"),
        ("del train_cfg\n", "train.iterations: must be set, for"),
        ('param_scheduler = dict(type="PolyLR", end=9)\n', "PolyLR counts epochs: set by_epoch=False"),
        (
            "train_pipeline = [dict(prob=0.5)]\n",
            "train_pipeline has {'prob': 0.5}, expected a dict with a type by name",
        ),
        ("custom_hooks = ['EMAHook']\n", "custom_hooks has 'EMAHook', expected a dict with a type by name"),
        ("train_pipeline = [dict(type='RandomApply', transforms=[dict(type='Albu')])]\n", "Albu moves labels without"),
        ("train_batch_size = 'x'\n", "own.py has a value of another kind than MMSegmentation's configs: ValueError"),
        ("optim_wrapper['accumulative_counts'] = 'x'\n", "own.py has a value of another kind than MMSegmentation's"),
        ("train_cfg = dict(max_iters='x')\n", "own.py has a value of another kind than MMSegmentation's"),
        ("optim_wrapper = 5\n", "own.py has a value of another kind than MMSegmentation's"),
        ("custom_imports = 'x'\n", "own.py has a value of another kind than MMSegmentation's"),
        ("model['test_cfg'] = {1}\n", "own.py has a value that is no number, text, list or dict: "),
        ("train_cfg = dict(\n", "cannot be read: "),
        ("raise RuntimeError('no such luck')\n", "own.py cannot be read: RuntimeError: no such luck"),
    ],
)
def test_a_config_that_cannot_be_trained_is_told_so(made, lines, expected):
    message = fault(made, lines)
    assert expected in message
    assert "train.iterations" in message or message.startswith("train.mmseg_config: ")


def test_padding_among_choices_pads_confidence_too(made):
    choices = "[[dict(type='Pad', size=(9, 9))], [dict(type='RandomFlip', prob=1)]]"
    recipe = made(f"train_pipeline = [dict(type='RandomChoice', transforms={choices})]\n")
    assert recipe.pipeline[0]["transforms"][0][0] == {"type": "PadWithConfidence", "size": (9, 9)}


PART = "model['backbone']['part'] = dict(type='Part', pretrained='x', init_cfg={init_cfg})\n"
LOADED, DRAWN = "dict(type='Pretrained', checkpoint='y')", "dict(type='Normal', std=0.1)"


@pytest.mark.parametrize("init_cfg", [LOADED, f"[{DRAWN}, {LOADED}]", DRAWN])
def test_initial_weights_of_parts_of_a_network_are_told_and_not_followed(made, init_cfg):
    lines = PART.format(init_cfg=init_cfg)
    assert "names initial weights of a part of its network, x, which are not followed: set" in fault(
        made, lines, init=None
    )
    drawn = {"type": "Normal", "std": 0.1}
    kept = {LOADED: {}, DRAWN: {"init_cfg": drawn}}.get(init_cfg, {"init_cfg": [drawn]})
    assert made(lines).model["backbone"]["part"] == {"type": "Part", **kept}


def test_a_config_without_length_trains_as_long_as_the_run_says(made):
    recipe = made("del train_cfg\nparam_scheduler = dict(type='PolyLR', end=9, by_epoch=False)\n", iterations=7)
    assert (recipe.iterations, recipe.param_scheduler[0]["end"]) == (7, 9)


def test_a_config_that_is_not_there_is_told_with_those_that_are(tmp_path):
    with pytest.raises(ConfigError, match=r"no file .*/configs/mmseg/nothing\.py; .*deeplabv2_r101_voc12, "):
        recipe_of("nothing")
    with pytest.raises(ConfigError, match=rf"^train\.mmseg_config: no file {tmp_path}/own\.py; "):
        recipe_of(tmp_path / "own.py")


@pytest.mark.parametrize(
    "change",
    [
        {"classes": 21},
        {"precision": "bf16"},
        {"exif": "apply"},
        {"loss": "ce"},
        {"mu": 0.9},
        {"mu": "labels"},
        {"iterations": 31},
        {"seed": 1},
    ],
    ids=str,
)
def test_what_moves_the_result_moves_the_digest(change):
    before = {"init": "none"}
    assert recipe_of(TINY_NETWORK, **before).digest != recipe_of(TINY_NETWORK, **{**before, **change}).digest


@pytest.mark.parametrize(
    "lines",
    [
        'model["backbone"]["depth"] = 34\n',
        "train_pipeline[0]['prob'] = 0.6\n",
        "train_batch_size = 2\n",
        "optim_wrapper['optimizer']['lr'] = 0.2\n",
        "param_scheduler = dict(type='PolyLR', end=100, by_epoch=False)\n",
        "custom_hooks = [dict(type='EMAHook')]\n",
    ],
)
def test_what_moves_the_result_moves_the_digest_of_a_config(made, lines):
    assert made().digest != made(lines).digest


def test_what_does_not_move_the_result_does_not_move_the_digest(made, tmp_path):
    before = made().digest
    assert made("# a comment\nval_dataloader = dict(batch_size=9)\nrandomness = dict(seed=3)\n").digest == before
    for quiet in ({"checkpoint_every": 3}, {"keep_checkpoints": 7}, {"validate_every": 5}, {"validate_photos": 2}):
        assert made(**quiet).digest == before


def test_content_of_initial_weights_moves_the_digest_and_their_place_does_not(made, tmp_path):
    one, same, other = (tmp_path / name for name in ("one.pth", "same.pth", "other.pth"))
    one.write_bytes(b"weights"), same.write_bytes(b"weights"), other.write_bytes(b"others")
    digests = [made(init=str(path)).digest for path in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_initial_weights_that_are_not_there_are_told_before_anything_runs(made, tmp_path):
    with pytest.raises(WeightsError, match=rf"^train\.init {tmp_path}/gone\.pth: expected a readable file, found none"):
        made(init=str(tmp_path / "gone.pth"))


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_the_shipped_configs_resolve_without_a_download(name):
    recipe = recipe_of(name, init="none")
    assert recipe.init == "none"
    assert recipe.pipeline[-1] == {"type": "PackConfidence"}


@pytest.mark.parametrize(
    "name",
    [
        "pspnet/pspnet_r50-d8_4xb4-20k_voc12aug-512x512",
        "segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512",
        "deeplabv3plus/deeplabv3plus_r50-d8_4xb4-20k_voc12aug-512x512",
    ],
)
def test_unmodified_configs_of_mmsegmentation_become_networks_with_the_runs_loss(name):
    register_all_modules(init_default_scope=False)
    recipe = recipe_of(STOCK / f"{name}.py", init="none")
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(dict(recipe.model))
    heads = [model.decode_head, *([model.auxiliary_head] if model.with_auxiliary_head else [])]
    assert {type(head.loss_decode).__name__ for head in heads} == {"ConfidenceGuidedLoss"}
    assert {head.conv_seg.out_channels for head in heads} == {9}
    assert [each["type"] for each in recipe.pipeline if each["type"].startswith(("Load", "Pack"))] == ["PackConfidence"]
    assert recipe.iterations in (20_000, 160_000)
