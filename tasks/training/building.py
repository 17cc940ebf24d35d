"""What a recipe says, as MMSegmentation builds it; also once before anything runs, so that a fault is told at once."""

import clipes_core.segmentation  # noqa: F401 - registers modules; first, for it quietens MMSegmentation

# isort: split

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dataset import Compose
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, PARAM_SCHEDULERS, DefaultScope
from mmengine.utils import import_modules_from_strings
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

from clipes_core.errors import ClipesError, ConfigError
from tasks.segmenters import unregistered
from tasks.training.initial_weights import load_initial_weights
from tasks.training.recipes import Recipe

LOGGER = "clipes-training"


@contextmanager
def registered(recipe: Recipe) -> Iterator[None]:
    """For the block, plain names are those of MMSegmentation; what the config imports has its names as well.

    Raises:
        ConfigError: a module of the config cannot be imported.
    """
    register_all_modules(init_default_scope=False)
    if not MMLogger.check_instance_created(LOGGER):
        MMLogger.get_instance(LOGGER, log_level="ERROR")  # what it does with each tensor is no news
    with from_recipe("custom_imports"):
        import_modules_from_strings(list(recipe.imports))
    with DefaultScope.overwrite_default_scope("mmseg"):
        yield


@contextmanager
def from_recipe(what: str) -> Iterator[None]:
    """What constructors of MMSegmentation make of values that do not fit is up to them; it is the config's fault."""
    try:
        yield
    except ClipesError:
        raise
    except Exception as exc:
        raise ConfigError(f"train.mmseg_config: its {what} cannot be built: {type(exc).__name__}: {exc}") from exc


def network(recipe: Recipe) -> BaseSegmentor:
    """The network of a recipe with its initial weights, on the CPU; within `registered`.

    Raises:
        ConfigError: MMSegmentation cannot build it, or could not load it again from what is written of it.
        WeightsError: the initial weights are of another network.
    """
    if foreign := unregistered(recipe.model):
        raise ConfigError(f"train.mmseg_config: MMSegmentation registers no {foreign[0]!r}, which its model names")
    with from_recipe("network, with the run's classes and losses,"):
        model = MODELS.build(dict(recipe.model))
        model.init_weights()
    load_initial_weights(model, recipe.init)
    return model


def try_recipe(recipe: Recipe) -> None:
    """Build all that a training is made of, and let go of it.

    Raises:
        ConfigError: a part cannot be built.
        WeightsError: the initial weights are of another network.
    """
    with torch.random.fork_rng(devices=[]), registered(recipe):
        model = network(recipe)
        with from_recipe("train_pipeline"):
            Compose([dict(each) for each in recipe.pipeline])
        with from_recipe("optim_wrapper"):
            optim_wrapper = build_optim_wrapper(model, dict(recipe.optim_wrapper))
        with from_recipe("param_scheduler"):
            for each in recipe.param_scheduler:
                PARAM_SCHEDULERS.build(dict(each), default_args={"optimizer": optim_wrapper, "epoch_length": 1})
        with from_recipe("custom_hooks"):
            for each in recipe.hooks:
                HOOKS.build({key: value for key, value in each.items() if key != "priority"})
