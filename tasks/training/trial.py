"""Test a recipe: build every part of a training run once, so that errors appear before the run begins."""

from clipes_core.segmentation import (
    register_confidence_hooks,
)  # comes first, because it hides MMSegmentation's warnings

# isort: split

from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
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
from clipes_core.pseudo_mask import IGNORE_INDEX

BLOCK, BLOCKS_HW = 25, (15, 20)  # side of a block [px], rows and columns of blocks; 375 x 500 px, like most VOC photos
FULL_CONFIDENCE = 255
DRAWS = 8  # number of random test images; there are several because transforms are random
MAX_MISPLACED = 0.1  # permitted share of labels with a wrong confidence; some transforms change labels on purpose


def try_recipe(recipe: Recipe, num_classes: int) -> None:
    """Build every part of a training run, and run the transforms and the network on random images.

    Args:
        recipe: recipe of the training.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.

    Raises:
        ConfigError: a part cannot be built, or fails on an image.
        WeightsError: the initial weights cannot be loaded, or belong to a different network.
    """
    with torch.random.fork_rng(devices=[]), register_modules(recipe):
        model = build_network(recipe)
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
            sample = _sample(pipeline, num_classes)
        if sample is not None:
            with translate_recipe_errors("network", "used"):
                _forward(model, sample)


def _sample(pipeline: Compose, num_classes: int) -> dict[str, Any] | None:
    """Pass random images with random labels through a pipeline, and check the confidence map of each result.

    Return the last result that is not None, or None if the pipeline returned None for every image.
    """
    last = None
    for draw in range(DRAWS):
        blocks = np.random.default_rng(draw).integers(0, num_classes, BLOCKS_HW).astype(np.uint8)
        ids = blocks.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)
        image_bgr = np.random.default_rng(draw).integers(0, 256, (*ids.shape, 3), np.uint8)
        with seeded(draw):
            packed = pipeline(transform_input("noise", draw, image_bgr, ids, FULL_CONFIDENCE - ids))
        if packed is not None:
            _check_confidence(packed["data_samples"])
            last = packed
    return last


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


def _forward(model: BaseSegmentor, sample: dict[str, Any]) -> None:
    """Compute the losses of a sample as in training, but with frozen batch norm.

    Batch norm is frozen, because it may fail on a single photo in training mode.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.eval()
    register_confidence_hooks(model)
    batch = model.data_preprocessor({name: [value] for name, value in sample.items()}, training=True)
    with torch.no_grad():
        model(**batch, mode="loss")
