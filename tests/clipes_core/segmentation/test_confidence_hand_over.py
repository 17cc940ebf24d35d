import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from support.tiny_segmenters import batch, losses, segmentor
from torch import distributed
from torch.utils.data import Dataset

from clipes_core.errors import ConfigError
from clipes_core.segmentation import register_confidence_hooks

EXPECTED_LOSSES = {
    "deeplabv2": {"decode.loss_cgl", "aux.loss_cgl"},
    "deeplabv3plus": {"decode.loss_cgl", "aux_0.loss_cgl", "aux_1.loss_cgl"},
    "segformer": {"decode.loss_cgl"},
}


@pytest.mark.parametrize("name", EXPECTED_LOSSES)
def test_confidence_alone_changes_every_loss_of_unmodified_heads(name):
    model = segmentor(name)
    register_confidence_hooks(model)

    all_sure = losses(model, batch(255, 255))
    one_sure = losses(model, batch(255, 0))
    none_sure = losses(model, batch(0, 0))

    assert set(all_sure) == EXPECTED_LOSSES[name]
    assert all(all_sure[each] != pytest.approx(one_sure[each], rel=1e-4) for each in all_sure)
    assert set(none_sure.values()) == {0.0}


def test_padding_has_zero_confidence():
    # The preprocessor pads photos and labels to 48 x 40. If it padded with ignored labels, confidence would not matter.
    model = segmentor("deeplabv2")
    model.data_preprocessor.seg_pad_val = 0
    register_confidence_hooks(model)

    losses(model, batch(255, 255, size=(24, 40)))

    assert model.decode_head.loss_decode.kept_fraction == 0.5


def test_the_confidence_is_removed_after_each_batch():
    model = segmentor("segformer")
    register_confidence_hooks(model)
    losses(model, batch(255, 255))

    with pytest.raises(ConfigError, match="no confidence for this batch"):
        losses(model, batch(255, None))


def test_the_returned_handles_remove_the_hooks():
    model = segmentor("segformer")
    for handle in register_confidence_hooks(model):
        handle.remove()

    with pytest.raises(ConfigError, match="no confidence for this batch"):
        losses(model, batch(255, 255))


def test_a_model_without_a_confidence_guided_loss_is_refused():
    with pytest.raises(ConfigError, match="no head of the model has a ConfidenceGuidedLoss"):
        register_confidence_hooks(torch.nn.Conv2d(1, 1, 1))


class TwoPhotos(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        data = batch(255, 0)
        return {key: values[index] for key, values in data.items()}


def runner(model, folder) -> Runner:
    return Runner(
        model=model,
        work_dir=str(folder),
        train_dataloader={
            "dataset": TwoPhotos(),
            "batch_size": 2,
            "sampler": {"type": "InfiniteSampler", "shuffle": False},
            "collate_fn": {"type": "pseudo_collate"},
        },
        train_cfg={"type": "IterBasedTrainLoop", "max_iters": 2},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.01}},
        custom_hooks=[{"type": "ConfidenceHook"}],
        default_hooks={"checkpoint": None},
        default_scope="mmseg",
        cfg=Config({"work_dir": str(folder)}),
        experiment_name=folder.name,
    )


def test_a_runner_hands_over_the_confidence_and_logs_the_kept_fraction(tmp_path):
    ours = runner(segmentor("segformer"), tmp_path / "plain")
    ours.train()

    history, count = ours.message_hub.get_scalar("train/kept_fraction").data
    assert history.tolist() == [0.5, 0.5]
    assert count.tolist() == [1, 1]
    assert not ours.model._forward_pre_hooks


def test_a_distributed_model_is_unwrapped(tmp_path):
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        ours = runner(MMDistributedDataParallel(segmentor("segformer")), tmp_path / "wrapped")
        ours.train()
    finally:
        distributed.destroy_process_group()

    assert ours.message_hub.get_scalar("train/kept_fraction").current() == 0.5
