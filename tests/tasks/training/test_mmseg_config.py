from importlib.util import find_spec

import pytest
from support.small_recipes import recipe_of, rejection

from clipes.tasks.training.mmseg_config import RENAMED_MODULES
from clipes_core.errors import ConfigError


def test_photos_of_the_run_are_padded_and_packed_with_confidence(recipe_of_lines):
    recipe = recipe_of_lines(
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


def test_pack_confidence_is_not_added_twice(recipe_of_lines):
    recipe = recipe_of_lines('train_pipeline = [dict(type="RandomFlip", prob=0.5), dict(type="PackConfidence")]\n')
    assert [each["type"] for each in recipe.pipeline] == ["RandomFlip", "PackConfidence"]


def test_padding_inside_a_choice_also_pads_confidence(recipe_of_lines):
    choices = "[[dict(type='Pad', size=(9, 9))], [dict(type='RandomFlip', prob=1)]]"
    recipe = recipe_of_lines(f"train_pipeline = [dict(type='RandomChoice', transforms={choices})]\n")
    assert recipe.pipeline[0]["transforms"][0][0] == {"type": "PadWithConfidence", "size": (9, 9)}


@pytest.mark.parametrize(
    ("lines", "size"),
    [
        ("", 1),
        ("train_batch_size = 5\n", 5),
        ("train_dataloader = dict(batch_size=3)\n", 3),
        ("train_batch_size = 5\ntrain_dataloader = dict(batch_size=3)\n", 5),
        ("train_batch_size = 4.0\n", 4),
    ],
)
def test_the_batch_size_is_read_from_the_mmseg_config(recipe_of_lines, lines, size):
    assert recipe_of_lines(lines).batch_size == size


def test_the_precision_is_read_from_the_run_config(recipe_of_lines):
    amp = 'type="AmpOptimWrapper", dtype="bfloat16", loss_scale="dynamic", accumulative_counts=2'
    assert recipe_of_lines(f"optim_wrapper.update({amp})\n").optim_wrapper == {
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
def test_a_schedule_is_kept_if_the_number_of_iterations_is(recipe_of_lines, iterations, bounds):
    assert bounds_of(recipe_of_lines(SCHEDULE, iterations=iterations)) == [0, *bounds]


def test_a_schedule_is_scaled_with_the_number_of_iterations(recipe_of_lines):
    recipe = recipe_of_lines(SCHEDULE, iterations=250)
    assert recipe.iterations == 250
    assert bounds_of(recipe) == [0, 50, 50, 250, 200]


def bounds_of(recipe):
    first, second = recipe.param_scheduler
    return [first["begin"], first["end"], second["begin"], second["end"], second["T_max"]]


def test_a_single_scheduler_may_be_given_without_a_list(recipe_of_lines):
    recipe = recipe_of_lines('param_scheduler = dict(type="PolyLR", end=100, by_epoch=False)\n', iterations=10)
    assert recipe.param_scheduler == ({"type": "PolyLR", "end": 10, "by_epoch": False},)


def test_custom_hooks_except_the_confidence_hook_are_kept(recipe_of_lines):
    assert recipe_of_lines('custom_hooks = [dict(type="ConfidenceHook"), dict(type="EMAHook")]\n').hooks == (
        {"type": "EMAHook"},
    )


# lines with a number that Python cannot convert to a float -> key of the number
HUGE = {
    "optim_wrapper['optimizer']['lr'] = 10**400": "optim_wrapper.optimizer.lr",
    "train_batch_size = -(10**5000)": "train_batch_size",
    "train_cfg = dict(max_iters=10**5000)": "train_cfg.max_iters",
    "param_scheduler = [dict(type='PolyLR', end=10**400, by_epoch=False)]": "param_scheduler.0.end",
    "train_pipeline = [dict(type='RandomCrop', crop_size=(32, 10**400))]": "train_pipeline.0.crop_size.1",
    "custom_hooks = [dict(type='EMAHook', momentum=10**400)]": "custom_hooks.0.momentum",
    "model['decode_head']['channels'] = 10**400": "model.decode_head.channels",
}


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("del model\n", "has no model with a decode_head"),
        ('del model["decode_head"]\n', "has no model with a decode_head"),
        ("del train_pipeline\n", "has no train_pipeline"),
        ("del optim_wrapper\n", "has no optim_wrapper.optimizer"),
        ("del train_cfg\n", "train.iterations: must be set because"),
        ('param_scheduler = dict(type="PolyLR", end=9)\n', "has a PolyLR that counts epochs: set by_epoch=False"),
        (
            "train_pipeline = [dict(prob=0.5)]\n",
            "has {'prob': 0.5} in train_pipeline: expected a dict whose key 'type' is the name of a class",
        ),
        ("custom_hooks = ['EMAHook']\n", "has 'EMAHook' in custom_hooks: expected a dict whose key 'type' is"),
        (
            "train_pipeline = [dict(type='RandomApply', transforms=[dict(type='Albu')])]\n",
            "has Albu in train_pipeline, but Albu does not transform the confidence map",
        ),
        ("train_batch_size = 'x'\n", "own.py has train_batch_size = 'x': expected a whole number from 1 to 10000000"),
        ("train_batch_size = True\n", "own.py has train_batch_size = True: expected a whole number"),
        ("train_batch_size = float('inf')\n", "own.py has train_batch_size = inf: expected a whole number"),
        ("train_batch_size = 10**9\n", "own.py has train_batch_size = 1000000000: expected a whole number"),
        (
            "optim_wrapper['accumulative_counts'] = 'x'\n",
            "has optim_wrapper.accumulative_counts = 'x': expected",
        ),
        ("train_cfg = dict(max_iters=10**9)\n", "own.py has train_cfg.max_iters = 1000000000: expected a whole number"),
        *((f"{lines}\n", f"own.py has a number of more than 300 digits: correct {key}") for lines, key in HUGE.items()),
        ("train_cfg = dict(max_iters=2.5)\n", "own.py has train_cfg.max_iters = 2.5: expected a whole number"),
        ("train_cfg = dict(max_iters='x')\n", "own.py has train_cfg.max_iters = 'x': expected a whole number"),
        ("optim_wrapper = 5\n", "own.py has an unexpected value: "),
        ("custom_imports = 'x'\n", "own.py has an unexpected value: "),
        ("model['test_cfg'] = {1}\n", "own.py has a value that is not a finite number, text, list or dict: "),
        ("train_cfg = dict(\n", "cannot be read: "),
        ("import os\nos._exit(0)\n", "own.py cannot be read: SystemExit: os._exit(0)"),
        ("raise RuntimeError('no such luck')\n", "own.py cannot be read: RuntimeError: no such luck"),
    ],
)
def test_a_config_that_cannot_be_trained_is_refused(recipe_of_lines, lines, expected):
    message = rejection(recipe_of_lines, lines)
    assert expected in message
    assert "train.iterations" in message or message.startswith("train.mmseg_config: ")


def test_the_error_for_a_missing_config_lists_the_shipped_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"/configs/mmseg/nothing\.py does not exist; .*deeplabv2_r101_voc12, "):
        recipe_of("nothing")
    with pytest.raises(ConfigError, match=rf"^train\.mmseg_config: {tmp_path}/own\.py does not exist; "):
        recipe_of(tmp_path / "own.py")


@pytest.mark.parametrize("imports", ["'{old}'", "['clipes_core.segmentation', '{old}']"])
@pytest.mark.parametrize("module", ["dataset", "sampler"])
def test_the_error_for_an_old_import_name_gives_the_new_name(recipe_of_lines, module, imports):
    names = imports.format(old=f"tasks.training.{module}")
    assert rejection(recipe_of_lines, f"custom_imports = dict(imports={names})\n").endswith(
        f"own.py has tasks.training.{module} in custom_imports, but this module was renamed: write "
        f"clipes.tasks.training.data.{module}"
    )


def test_the_new_import_names_are_accepted(recipe_of_lines):
    assert recipe_of_lines(f"custom_imports = dict(imports={[*RENAMED_MODULES.values()]})\n").imports == (
        "clipes.tasks.training.data.dataset",
        "clipes.tasks.training.data.sampler",
    )
    assert all(find_spec(name) for name in RENAMED_MODULES.values())
