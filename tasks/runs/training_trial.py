"""Try the training of a run before the run spends time, and find its initial weights.

Importing torch and MMSegmentation takes seconds, so functions that need them import them.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, cast

from clipes.tasks.machine.terminal import announce
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.stages.segmenter import SEGMENTER, training_packages
from clipes_core.config.run import RunConfig
from clipes_core.errors import BrokenArtifactError
from clipes_core.vocabulary import Vocabulary

if TYPE_CHECKING:
    from clipes.tasks.models.weight_files import WeightsPlace
    from clipes.tasks.training.recipes import Recipe


def check_training(run: PreparedRun) -> None:
    """Try every part of a run's training on random images, which takes seconds.

    The trial is skipped if the run trains no segmenter, or if the store has a segmenter that was trained with the same
    settings.

    Raises:
        ConfigError: a part of the training cannot be built, or fails.
        WeightsError: the initial weights cannot be loaded, or belong to a different network.
    """
    recipe = run.inputs.training
    if recipe is not None and not _has_trained(run):
        with announce("trying the training"):
            from clipes.tasks.training.trial import try_recipe  # imports torch and MMSegmentation

            try_recipe(cast("Recipe", recipe), 1 + len(run.inputs.vocabulary.classes))


def find_segmenter_weights(config: RunConfig) -> "WeightsPlace | None":
    """Return where the initial weights of the segmenter are, as `find_initial_weights` does; None if it has none.

    Raises:
        UsageError: the MMSegmentation config or the initial weights cannot be used.
        TransientError: the store of the initial weights does not answer.
    """
    from clipes.tasks.training.initial_weights import find_initial_weights
    from clipes.tasks.training.recipes import chosen_weights

    return find_initial_weights(chosen_weights(config))


def try_training(config: RunConfig, vocabulary: Vocabulary, with_weights: bool) -> int:
    """Try every part of a run's training on random images, on the processor, and return its number of parameters.

    Args:
        config: configuration of the run.
        vocabulary: classes of the data set.
        with_weights: false to leave out the initial weights.

    Raises:
        UsageError: a part of the training cannot be used.
    """
    from clipes.tasks.training.recipes import read_recipe
    from clipes.tasks.training.trial import try_recipe

    init = {} if with_weights else {"init": "none"}
    tried = config.model_copy(update={"train": config.train.model_copy(update=init)})
    num_classes = 1 + len(vocabulary.classes)
    return try_recipe(read_recipe(tried, num_classes, precision="fp32"), num_classes)


def _has_trained(run: PreparedRun) -> bool:
    """Return whether a segmenter was trained with the settings of a run and the installed packages.

    It may have been trained on other photos. If its file is damaged, the result is false.
    """
    key = run.keys.get(SEGMENTER.name)
    if key is None or run.reuse.fresh:
        return False
    for uri in run.store.shard_artifacts(SEGMENTER.name, key, 0):
        with suppress(BrokenArtifactError):
            if run.store.footer(uri).metadata.get("packages") == training_packages():
                return True
    return False
