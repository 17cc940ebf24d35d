"""The recipe of a training run: an MMSegmentation config, completed with the classes and settings of a clipes run.

Reading a recipe imports MMEngine and torch, which takes seconds. Importing this module does not import them.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from clipes.tasks.plan.keys import digest
from clipes.tasks.training.network import initial_weights_of_network, initial_weights_of_parts, network_of_run
from clipes.tasks.training.own_modules import code_digests
from clipes_core.confidence import PAPER_MU
from clipes_core.config.run import RunConfig
from clipes_core.errors import ConfigError

if TYPE_CHECKING:
    from clipes.tasks.training.mmseg_config import MmsegConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Plain values that define a training run. Only the photos and masks are not included.

    Attributes:
        model: config for MODELS.build, with the run's classes and losses and without initial weights.
        pipeline: configs of the transforms that turn a photo, its labels and its confidence map into a data sample.
        batch_size: number of photos per iteration, summed over all devices.
        optim_wrapper: config for OPTIM_WRAPPERS.build, for training in float32.
        param_scheduler: configs of the learning rate schedulers.
        iterations: number of iterations of the training.
        hooks: configs of the hooks in the MMSegmentation config, except ConfidenceHook.
        precision: fp32, bf16 or fp16.
        init: initial weights: torchvision://NAME, the path or URI of a file, or none.
        ignore_below: confidence threshold in [0, 1]. Labels of lower confidence become 255. None: no label changes.
        seed: seed for the initial weights, the order of the photos and the augmentation.
        inputs: other values that affect the result: `dataset.exif`, the digest of the initial weights, and the digests
            of the code of the user's modules in `imports`.
        imports: names of the modules that the MMSegmentation config imports to register classes.
    """

    model: Mapping[str, Any]
    pipeline: tuple[Mapping[str, Any], ...]
    batch_size: int
    optim_wrapper: Mapping[str, Any]
    param_scheduler: tuple[Mapping[str, Any], ...]
    iterations: int
    hooks: tuple[Mapping[str, Any], ...]
    precision: str
    init: str
    ignore_below: float | None
    seed: int
    inputs: tuple[str, ...]
    imports: tuple[str, ...] = ()

    @property
    def accumulated(self) -> int:
        """Number of iterations whose gradients are accumulated for one step of the optimizer."""
        return int(self.optim_wrapper.get("accumulative_counts", 1))

    def processes(self, most: int) -> int:
        """Return how many processes train: the largest number up to `most` that divides the batch size evenly."""
        return max(count for count in range(1, most + 1) if self.batch_size % count == 0)

    @property
    def init_digest(self) -> str:
        """Digest of the initial weights, as `initial_digest` returned it when the recipe was read."""
        return self.inputs[1]

    @property
    def code_digests(self) -> tuple[str, ...]:
        """Digests of the code of the modules in `imports`, as `code_digests` returned them when the recipe was read."""
        return self.inputs[2:]

    @property
    def digest(self) -> str:
        """Digest of the recipe. It depends on the content of the initial weights, but not on their location."""
        values = asdict(self)
        del values["init"]  # `inputs` holds the digest of the initial weights
        return digest(values)


def read_recipe(config: RunConfig, num_classes: int, precision: str) -> Recipe:
    """Read the MMSegmentation config of a run, and complete it with the run's classes and settings.

    Args:
        config: config of the run; only `train` and `dataset.exif` are used.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.
        precision: fp32, bf16 or fp16.

    Raises:
        ConfigError: the MMSegmentation config does not exist, is broken, or cannot be used with these settings.
        WeightsError: the initial weights do not exist, or could not be downloaded.
        TransientError: the store of the initial weights does not answer.
    """
    from clipes.tasks.training.mmseg_config import read_mmseg_config

    read = read_mmseg_config(config.train.mmseg_config)
    with read.translate_type_errors():
        recipe = _recipe(config, read, num_classes, precision)
    try:
        json.dumps(asdict(recipe), allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise read.error(f"has a value that is not a finite number, text, list or dict: {exc}") from exc
    return recipe


def chosen_weights(config: RunConfig) -> str:
    """Return the initial weights of a training: `train.init` or, if it is null, those of its MMSegmentation config.

    Raises:
        ConfigError: the MMSegmentation config does not exist, is broken, or has weights that clipes cannot load.
    """
    from clipes.tasks.training.initial_weights import NO_WEIGHTS
    from clipes.tasks.training.mmseg_config import read_mmseg_config

    read = read_mmseg_config(config.train.mmseg_config)
    with read.translate_type_errors():
        return config.train.init or _own_initial_weights(read) or NO_WEIGHTS


def _recipe(config: RunConfig, read: "MmsegConfig", num_classes: int, precision: str) -> Recipe:
    from clipes.tasks.training.initial_weights import NO_WEIGHTS, initial_digest

    train = config.train
    iterations = train.iterations or read.max_iters
    if iterations is None:
        raise ConfigError(f"train.iterations: must be set because {read.name} has no train_cfg.max_iters")
    if train.checkpoint_every is not None and train.checkpoint_every > iterations:
        logger.warning(
            "train.checkpoint_every: %d exceeds the %d iterations of the training: the only checkpoint is written "
            "after the last iteration, so an interrupted training starts again from iteration 0; set a lower number or "
            "null",
            train.checkpoint_every,
            iterations,
        )
    init = train.init or _own_initial_weights(read) or NO_WEIGHTS
    return Recipe(
        model=network_of_run(read.model, num_classes, train),
        pipeline=tuple(read.pipeline()),
        batch_size=read.batch_size,
        optim_wrapper=read.optim_wrapper(),
        param_scheduler=tuple(read.schedulers(iterations)),
        iterations=int(iterations),
        hooks=tuple(read.hooks()),
        precision=precision,
        init=init,
        ignore_below=PAPER_MU if train.loss == "cgl" and train.mu == "labels" else None,
        seed=train.seed,
        inputs=(config.dataset.exif, initial_digest(init), *code_digests(read.imports)),
        imports=read.imports,
    )


def _own_initial_weights(read: "MmsegConfig") -> str | None:
    """Return the initial weights of the network or of its backbone; None if the config lists no initial weights.

    Raises:
        ConfigError: all initial weights in the config are for other parts of the network. clipes cannot load them.
    """
    weights = initial_weights_of_network(read.model)
    if weights is None and (of_parts := initial_weights_of_parts(read.model)):
        raise read.error(
            f"has initial weights ({of_parts[0]}) for a part of its network that is not the backbone. clipes cannot "
            "load such weights: set train.init to none, or to a file"
        )
    return weights
