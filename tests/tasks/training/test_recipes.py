from pathlib import Path

import mmseg
import pytest
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules
from support.small_recipes import recipe_of
from support.small_runs import TINY_NETWORK

import clipes_core.segmentation  # noqa: F401 - registers what recipes name
from clipes.tasks.machine.shipped_files import MMSEG_CONFIGS
from clipes_core.errors import WeightsError

STOCK = Path(mmseg.__file__).parent / ".mim" / "configs"
SHIPPED_NAMES = sorted(path.stem for path in MMSEG_CONFIGS.glob("*.py"))


def test_the_digest_of_torchvision_weights_is_in_their_file_name(recipe_of_lines, torchvision_home):
    assert recipe_of_lines(init="torchvision://resnet18").inputs == ("ignore", "resnet18-f37072fd.pth")


def test_weights_of_other_libraries_must_be_given_as_a_file(recipe_of_lines):
    with pytest.raises(WeightsError, match=r"^train\.init open-mmlab://resnet50_v1c: expected a readable file"):
        recipe_of_lines('model["pretrained"] = "open-mmlab://resnet50_v1c"\n', init=None)


def test_a_config_without_iterations_uses_those_of_the_run(recipe_of_lines):
    recipe = recipe_of_lines(
        "del train_cfg\nparam_scheduler = dict(type='PolyLR', end=9, by_epoch=False)\n", iterations=7
    )
    assert (recipe.iterations, recipe.param_scheduler[0]["end"]) == (7, 9)


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
def test_settings_that_change_the_result_change_the_digest(change):
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
def test_config_values_that_change_the_result_change_the_digest(recipe_of_lines, lines):
    assert recipe_of_lines().digest != recipe_of_lines(lines).digest


def test_settings_that_do_not_change_the_result_do_not_change_the_digest(recipe_of_lines, tmp_path):
    before = recipe_of_lines().digest
    assert (
        recipe_of_lines("# a comment\nval_dataloader = dict(batch_size=9)\nrandomness = dict(seed=3)\n").digest
        == before
    )
    for quiet in ({"checkpoint_every": 3}, {"keep_checkpoints": 7}, {"validate_every": 5}, {"validate_photos": 2}):
        assert recipe_of_lines(**quiet).digest == before


def test_the_digest_covers_the_content_of_initial_weights_not_their_path(recipe_of_lines, tmp_path):
    one, same, other = (tmp_path / name for name in ("one.pth", "same.pth", "other.pth"))
    one.write_bytes(b"weights"), same.write_bytes(b"weights"), other.write_bytes(b"others")
    digests = [recipe_of_lines(init=str(path)).digest for path in (one, same, other)]
    assert digests[0] == digests[1] != digests[2]


def test_missing_initial_weights_are_reported_when_the_recipe_is_read(recipe_of_lines, tmp_path):
    with pytest.raises(WeightsError, match=rf"^train\.init {tmp_path}/gone\.pth: expected a readable file, found none"):
        recipe_of_lines(init=str(tmp_path / "gone.pth"))


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_shipped_configs_can_be_read_without_a_download(name):
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
def test_stock_configs_of_mmsegmentation_get_the_loss_of_the_run(name):
    register_all_modules(init_default_scope=False)
    recipe = recipe_of(STOCK / f"{name}.py", init="none")
    with DefaultScope.overwrite_default_scope("mmseg"):
        model = MODELS.build(dict(recipe.model))
    heads = [model.decode_head, *([model.auxiliary_head] if model.with_auxiliary_head else [])]
    assert {type(head.loss_decode).__name__ for head in heads} == {"ConfidenceGuidedLoss"}
    assert {head.conv_seg.out_channels for head in heads} == {9}
    assert [each["type"] for each in recipe.pipeline if each["type"].startswith(("Load", "Pack"))] == ["PackConfidence"]
    assert recipe.iterations in (20_000, 160_000)
