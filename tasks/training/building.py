"""What a recipe says, as MMSegmentation builds it; also once before anything runs, so that a fault is told at once."""

import clipes_core.segmentation  # noqa: F401 - registers modules; first, for it quietens MMSegmentation

# isort: split

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, PARAM_SCHEDULERS, DefaultScope
from mmengine.utils import import_modules_from_strings
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from torch import nn

from clipes.tasks.models.network_config import as_text, from_text, unregistered, without_initial_weights
from clipes.tasks.training.data.dataset import transform_input
from clipes.tasks.training.hooks.randomness import random_state
from clipes.tasks.training.initial_weights import load_initial_weights
from clipes.tasks.training.recipes import Recipe
from clipes_core.errors import ConfigError, StorageError, TransientError, UsageError
from clipes_core.pseudo_mask import IGNORE_INDEX
from clipes_core.segmentation import hand_over_confidence

LOGGER = "clipes-training"
BLOCK, BLOCKS_HW = 25, (15, 20)  # px and number: a photo of 375 x 500, as most of VOC
SURE = 255
DRAWS = 8  # of what transforms do by chance
MOST_APART = 0.1  # of the pixels, where a transform changes some labels on purpose


@contextmanager
def registered(recipe: Recipe) -> Iterator[None]:
    """For the block, plain names are those of MMSegmentation; what the config imports has its names as well.

    Raises:
        ConfigError: a module of the config cannot be imported.
    """
    register_all_modules(init_default_scope=False)
    if not MMLogger.check_instance_created(LOGGER):
        MMLogger.get_instance(LOGGER, log_level="ERROR")  # what it does with each tensor is no news
    import_own_modules(recipe.imports)
    with DefaultScope.overwrite_default_scope("mmseg"):
        yield


def import_own_modules(names: Sequence[str]) -> None:
    """Import what the config's custom_imports name, which registers modules of the user's own.

    Raises:
        ConfigError: one cannot be imported.
    """
    with from_recipe("custom_imports", "imported"):
        import_modules_from_strings(list(names))


@contextmanager
def from_recipe(what: str, done: str = "built") -> Iterator[None]:
    """What modules of MMSegmentation make of values that do not fit is up to them; it is the config's fault."""
    try:
        yield
    except (UsageError, StorageError, TransientError):
        raise
    except Exception as exc:
        raise ConfigError(f"train.mmseg_config: its {what} cannot be {done}: {type(exc).__name__}: {exc}") from exc


def network(recipe: Recipe) -> BaseSegmentor:
    """The network of a recipe with its initial weights, on the CPU; within `registered`.

    Raises:
        ConfigError: MMSegmentation cannot build it, or could not load it again from what is written of it.
        WeightsError: the initial weights are of another network.
    """
    try:
        stated = without_initial_weights(from_text(as_text(recipe.model)))
    except TypeError as exc:
        raise ConfigError(f"train.mmseg_config: its model could not be loaded again: {exc}") from exc
    if foreign := unregistered(stated):
        raise ConfigError(
            f"train.mmseg_config: its model names {foreign[0]!r}, which MMSegmentation does not register; modules of "
            "your own are those that custom_imports register there"
        )
    with from_recipe("network, with the run's classes and losses,"):
        model = MODELS.build(dict(recipe.model))
        model.init_weights()
        load_initial_weights(model, recipe.init)
    return model


def try_recipe(recipe: Recipe, num_classes: int) -> None:
    """Build all that a training is made of, let made-up photos pass through it, and let go of it.

    Args:
        recipe: of the training.
        num_classes: 1 + K.

    Raises:
        ConfigError: a part cannot be built, or does not take what it is given.
        WeightsError: the initial weights are of another network.
    """
    with torch.random.fork_rng(devices=[]), registered(recipe):
        model = network(recipe)
        with from_recipe("train_pipeline"):
            pipeline = Compose([dict(each) for each in recipe.pipeline])
        with from_recipe("optim_wrapper"):
            optim_wrapper = build_optim_wrapper(model, dict(recipe.optim_wrapper))
        with from_recipe("param_scheduler"):
            for each in recipe.param_scheduler:
                PARAM_SCHEDULERS.build(dict(each), default_args={"optimizer": optim_wrapper, "epoch_length": 1})
        with from_recipe("custom_hooks"):
            for each in recipe.hooks:
                HOOKS.build({key: value for key, value in each.items() if key != "priority"})
        with from_recipe("train_pipeline", "used"):
            sample = _sample(pipeline, num_classes)
        if sample is not None:
            with from_recipe("network", "used"):
                _pass_through(model, sample)


def _sample(pipeline: Compose, num_classes: int) -> dict[str, Any] | None:
    """What a pipeline makes of noise with blocks of labels; the last of some draws, None where it skips all of them."""
    kept = None
    for draw in range(DRAWS):
        blocks = np.random.default_rng(draw).integers(0, num_classes, BLOCKS_HW).astype(np.uint8)
        ids = blocks.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)
        image_bgr = np.random.default_rng(draw).integers(0, 256, (*ids.shape, 3), np.uint8)
        with random_state(draw):
            packed = pipeline(transform_input("noise", draw, image_bgr, ids, SURE - ids))
        if packed is not None:
            _check_confidence(packed["data_samples"])
            kept = packed
    return kept


def _check_confidence(sample: SegDataSample) -> None:
    """Confidence lies where the labels do that it was given with.

    Raises:
        ConfigError: it does not.
    """
    ids, confidence = sample.gt_sem_seg.data, sample.gt_confidence.data
    labelled = ids != IGNORE_INDEX
    apart = (SURE - confidence[labelled] != ids[labelled]).float().mean().item() if labelled.any() else 0.0
    if apart > MOST_APART:
        raise ConfigError(
            "train.mmseg_config: a transform of its train_pipeline moves labels without their confidence; take those "
            "of MMSegmentation, or move all of results['seg_fields']"
        )


def _pass_through(model: BaseSegmentor, sample: dict[str, Any]) -> None:
    """The losses of a sample, as in training but for batch norm: of one photo it has no statistics."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.eval()
    hand_over_confidence(model)
    batch = model.data_preprocessor({name: [value] for name, value in sample.items()}, training=True)
    with torch.no_grad():
        model(**batch, mode="loss")
