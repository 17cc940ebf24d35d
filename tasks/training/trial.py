"""Test a recipe: build every part of a training run once, so that errors appear before the run begins."""

from clipes_core.segmentation import (
    register_confidence_hooks,
)  # comes first, because it hides MMSegmentation's warnings

# isort: split

from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, PARAM_SCHEDULERS
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import nn

from clipes.tasks.training.building import build_network, register_modules, translate_recipe_errors
from clipes.tasks.training.data.dataset import transform_input
from clipes.tasks.training.hooks.randomness import seeded
from clipes.tasks.training.recipes import Recipe
from clipes_core.errors import ConfigError
from clipes_core.finite import is_finite
from clipes_core.pseudo_mask import IGNORE_INDEX

BLOCK, BLOCKS_HW = 25, (15, 20)  # side of a block [px], rows and columns of blocks; 375 x 500 px, like most VOC photos
FULL_CONFIDENCE = 255
DRAWS = 8  # number of random test images; there are several because transforms are random
MAX_MISPLACED = 0.1  # permitted share of labels with a wrong confidence; some transforms change labels on purpose


def try_recipe(recipe: Recipe, num_classes: int) -> int:
    """Build every part of a training run, and run the transforms and the network on random images.

    Args:
        recipe: recipe of the training.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.

    Returns:
        The number of trained parameters of the network.

    Raises:
        ConfigError: a part cannot be built, or fails on an image; or the loss is NaN or infinite.
        WeightsError: the initial weights cannot be loaded, or belong to a different network.
    """
    with torch.random.fork_rng(devices=[]), register_modules(recipe):
        model = revert_sync_batchnorm(build_network(recipe))  # synchronised batch norm needs a GPU
        with translate_recipe_errors("train_pipeline"):
            pipeline = Compose([dict(each) for each in recipe.pipeline])
        with translate_recipe_errors("optim_wrapper"):
            optim_wrapper = build_optim_wrapper(model, dict(recipe.optim_wrapper))
        with translate_recipe_errors("param_scheduler"):
            for each in recipe.param_scheduler:
                PARAM_SCHEDULERS.build(dict(each), default_args={"optimizer": optim_wrapper, "epoch_length": 1})
        with translate_recipe_errors("custom_hooks"):
            for each in recipe.hooks:
                HOOKS.build({key: value for key, value in each.items() if key != "priority"})
        with translate_recipe_errors("train_pipeline", "used"):
            samples = _samples(pipeline, num_classes)
        if samples:
            with translate_recipe_errors("network", f"trained with a batch size of {recipe.batch_size}"):
                _check_loss(model, (samples * 2)[: recipe.batch_size])
    return sum(parameter.numel() for parameter in model.parameters())


def _samples(pipeline: Compose, num_classes: int) -> list[dict[str, Any]]:
    """Pass random images with random labels through a pipeline, and check the confidence map of each result.

    Return the results, without those of images for which the pipeline returned None.
    """
    samples = []
    for draw in range(DRAWS):
        blocks = np.random.default_rng(draw).integers(0, num_classes, BLOCKS_HW).astype(np.uint8)
        ids = blocks.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)
        image_bgr = np.random.default_rng(draw).integers(0, 256, (*ids.shape, 3), np.uint8)
        with seeded(draw):
            packed = pipeline(transform_input("noise", draw, image_bgr, ids, FULL_CONFIDENCE - ids))
        if packed is not None:
            _check_confidence(packed["data_samples"])
            samples.append(packed)
    return samples


def _check_confidence(sample: SegDataSample) -> None:
    """Check that the transforms have moved each pixel of the confidence map together with its label.

    Raises:
        ConfigError: the confidence map and the labels no longer match.
    """
    ids, confidence = sample.gt_sem_seg.data, sample.gt_confidence.data
    labelled = ids != IGNORE_INDEX
    misplaced = (
        (FULL_CONFIDENCE - confidence[labelled] != ids[labelled]).float().mean().item() if labelled.any() else 0.0
    )
    if misplaced > MAX_MISPLACED:
        raise ConfigError(
            "train.mmseg_config: a transform of its train_pipeline moves labels but not the confidence map: use the "
            "transforms of MMSegmentation, or let your own transforms move all maps listed in results['seg_fields']"
        )


def _check_loss(model: BaseSegmentor, samples: list[dict[str, Any]]) -> None:
    """Compute the losses of one photo as in training, and check that they are finite.

    Batch norm may fail on a single photo. If a batch has more photos, batch norm is frozen, because the losses of
    several photos take too long to compute. The photos of a batch must nevertheless fit into one array.

    Args:
        model: network to train.
        samples: photos of one batch, at least one; of a large batch, not all photos are needed.

    Raises:
        ConfigError: a loss is NaN or infinite.
    """
    model.train()
    register_confidence_hooks(model)
    _preprocessed(model, samples)
    for module in model.modules() if len(samples) > 1 else ():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.eval()
    with torch.no_grad():
        loss, _ = model.parse_losses(model(**_preprocessed(model, samples[-1:]), mode="loss"))
    if not is_finite(loss):
        raise ConfigError(
            f"train.mmseg_config: its network has the loss {loss.item()} on a random image: check the initial weights "
            "and the settings of the losses"
        )


def _preprocessed(model: BaseSegmentor, samples: list[dict[str, Any]]) -> dict[str, Any]:
    batch = {name: [sample[name] for sample in samples] for name in samples[0]}
    return model.data_preprocessor(batch, training=True)
