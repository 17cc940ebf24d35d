"""Import the modules that a recipe lists, and use MMSegmentation to build the network of the recipe."""

import clipes_core.segmentation  # noqa: F401 - registers modules; first, because it hides MMSegmentation's warnings

# isort: split

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.utils import import_modules_from_strings
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

from clipes.tasks.models.network_config import as_text, from_text, unregistered, without_initial_weights
from clipes.tasks.models.weight_files import check_unchanged
from clipes.tasks.plan.run_inputs import Training
from clipes.tasks.training.exit_guard import refuse_exit
from clipes.tasks.training.initial_weights import initial_digest, load_initial_weights
from clipes.tasks.training.own_modules import code_digests
from clipes.tasks.training.recipes import Recipe
from clipes_core.errors import ConfigError, StorageError, TransientError, UsageError

LOGGER = "clipes-training"


@contextmanager
def register_modules(recipe: Recipe) -> Iterator[None]:
    """Register the classes of MMSegmentation, and those of the modules that the MMSegmentation config imports.

    Within the block, type names without a scope belong to MMSegmentation: `FCNHead` means `mmseg.FCNHead`.

    Raises:
        ConfigError: the import of a module fails, or its code has changed since the recipe was read.
    """
    register_all_modules(init_default_scope=False)
    if not MMLogger.check_instance_created(LOGGER):
        MMLogger.get_instance(LOGGER, log_level="ERROR")  # otherwise MMEngine logs the initialisation of every tensor
    import_own_modules(recipe)
    with DefaultScope.overwrite_default_scope("mmseg"):
        yield


def import_own_modules(training: Training) -> None:
    """Import the modules that an MMSegmentation config lists in `custom_imports`. The modules register their classes.

    Raises:
        ConfigError: a module cannot be imported, or its code has changed since the run was planned.
    """
    with translate_recipe_errors("custom_imports", "imported"):
        import_modules_from_strings(list(training.imports))
    if code_digests(training.imports) != training.code_digests:
        raise ConfigError(
            f"train.mmseg_config: the code of its custom_imports ({', '.join(training.imports)}) changed during the "
            "run: run again, and leave the files unchanged until the run has ended"
        )


@contextmanager
def translate_recipe_errors(part: str, done: str = "built") -> Iterator[None]:
    """If the block raises an error, raise a ConfigError with the name of a part of the MMSegmentation config.

    UsageError, StorageError and TransientError are raised unchanged.

    Args:
        part: name of the part that the block uses, such as train_pipeline.
        done: word that completes "the part cannot be ..." in the message: built, used or imported.

    Raises:
        ConfigError: the block raised an error other than UsageError, StorageError and TransientError.
    """
    try:
        with refuse_exit():
            yield
    except (UsageError, StorageError, TransientError):
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise ConfigError(f"train.mmseg_config: its {part} cannot be {done}: {type(exc).__name__}: {exc}") from exc


def build_network(recipe: Recipe) -> BaseSegmentor:
    """Build the network of a recipe on the CPU, and load its initial weights. Call this within `register_modules`.

    Raises:
        ConfigError: the network cannot be built. Or the config of the network cannot be saved, or has a type that is
            not registered in MMSegmentation, so that clipes could not load the trained segmenter.
        WeightsError: the initial weights cannot be loaded, belong to a different network, or have changed since the
            recipe was read.
    """
    try:
        stated = without_initial_weights(from_text(as_text(recipe.model)))
    except TypeError as exc:
        raise ConfigError(f"train.mmseg_config: its model has a part that cannot be saved: {exc}") from exc
    if foreign := unregistered(stated):
        raise ConfigError(
            f"train.mmseg_config: its model has the type {foreign[0]!r}, which is not registered in MMSegmentation; "
            "if a Python module registers this type, list the module in custom_imports"
        )
    with translate_recipe_errors("network, with the run's classes and losses,"):
        model = MODELS.build(dict(recipe.model))
        model.init_weights()
        load_initial_weights(model, recipe.init)
        check_unchanged(f"train.init {recipe.init}", recipe.init_digest, initial_digest(recipe.init))
    return model
