"""Read an MMSegmentation config file, and check the parts that training needs."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from clipes.tasks.machine.shipped_files import MMSEG_CONFIGS
from clipes.tasks.models.config_sections import config_sections
from clipes.tasks.training.exit_guard import refuse_exit
from clipes_core.config.run import config_values
from clipes_core.errors import ConfigError

LARGEST = 10**300  # no floating-point number is as large as 10**309
MOST = 10_000_000  # iterations of a training, or photos of a batch
PADDING = {"Pad": "PadWithConfidence"}  # mmcv's Pad pads the labels but not the confidence
RENAMED_MODULES = {
    "tasks.training.dataset": "clipes.tasks.training.data.dataset",
    "tasks.training.sampler": "clipes.tasks.training.data.sampler",
}  # old module name -> present module name; a config that imports an old name is refused with a hint


@dataclass(frozen=True)
class MmsegConfig:
    """The content of an MMSegmentation config file.

    Attributes:
        name: name of a shipped config, or path of the file, for messages.
        values: top-level variables of the config, by name.
    """

    name: str
    values: Mapping[str, Any]

    @contextmanager
    def translate_type_errors(self) -> Iterator[None]:
        """If the block raises AttributeError, KeyError, TypeError or ValueError, raise ConfigError instead.

        MMEngine does not check the values in a config, so that a wrong value causes such an error where it is used.

        Raises:
            ConfigError: the block raised one of these errors. The message names the config.
        """
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise self.error(
                f"has an unexpected value: {type(exc).__name__}: {exc}; compare this config with the configs of "
                "MMSegmentation"
            ) from exc

    def error(self, problem: str) -> ConfigError:
        """Return an error that says what is wrong with this config.

        Args:
            problem: rest of the message after the name of the config, such as 'has no train_pipeline'.
        """
        return ConfigError(f"train.mmseg_config: {self.name} {problem}")

    @property
    def model(self) -> Mapping[str, Any]:
        """Config of the network."""
        return self.values["model"]

    @property
    def max_iters(self) -> int | None:
        """Number of training iterations in the config; None if the config does not set it.

        Raises:
            ConfigError: it is not a positive whole number.
        """
        return count_of(self, "train_cfg.max_iters", (self.values.get("train_cfg") or {}).get("max_iters"))

    @property
    def batch_size(self) -> int:
        """Number of photos per iteration, summed over all devices; 1 if the config does not set it.

        Raises:
            ConfigError: it is not a positive whole number.
        """
        own = count_of(self, "train_batch_size", self.values.get("train_batch_size"))
        return own or count_of(self, "train_dataloader.batch_size", self._dataloader.get("batch_size")) or 1

    @property
    def imports(self) -> tuple[str, ...]:
        """Names of the modules that the config lists in `custom_imports`.

        Raises:
            ConfigError: a listed module belongs to clipes and has been renamed.
        """
        found = (self.values.get("custom_imports") or {}).get("imports", ())
        names = (found,) if isinstance(found, str) else tuple(found)
        for name in names:
            if name in RENAMED_MODULES:
                raise self.error(
                    f"has {name} in custom_imports, but this module was renamed: write {RENAMED_MODULES[name]}"
                )
        return names

    def pipeline(self) -> Iterator[dict[str, Any]]:
        """Yield the configs of the transforms in the training pipeline, except transforms that load files.

        Transforms that pad or pack are replaced with transforms that also pad or pack the confidence map.

        Raises:
            ConfigError: there are no transforms, a transform is not a dict with a type, or a transform is Albu, which
                does not transform the confidence map.
        """
        found = self.values.get("train_pipeline") or self._dataloader.get("dataset", {}).get("pipeline")
        if not found:
            raise self.error("has no train_pipeline")
        for transform in deepcopy(list(self._typed(found, "train_pipeline"))):
            kind = transform["type"]
            if not kind.startswith("Load") and kind not in ("PackSegInputs", "PackConfidence"):
                for section in config_sections(transform):  # a transform, such as RandomChoice, may contain others
                    _move_confidence(self, section)
                yield dict(transform)
        yield {"type": "PackConfidence"}

    def optim_wrapper(self) -> dict[str, Any]:
        """Return the config of the optimizer wrapper for training in float32.

        Raises:
            ConfigError: the config has no optimizer, or accumulates the gradients of a number of iterations that is not
                a positive whole number.
        """
        found = dict(self.values.get("optim_wrapper") or {})
        if "optimizer" not in found:
            raise self.error("has no optim_wrapper.optimizer")
        for of_precision in ("dtype", "loss_scale"):  # train.precision sets the precision later
            found.pop(of_precision, None)
        count_of(self, "optim_wrapper.accumulative_counts", found.get("accumulative_counts"))
        return {**found, "type": "OptimWrapper"}

    def schedulers(self, iterations: int) -> Iterator[dict[str, Any]]:
        """Yield the configs of the learning rate schedulers, stretched from `max_iters` to `iterations` iterations.

        Raises:
            ConfigError: a scheduler counts epochs instead of iterations, is not a dict with a type, has a negative
                number, or begins after the last iteration.
        """
        found = self.values.get("param_scheduler") or ()
        for scheduler in self._typed([found] if isinstance(found, dict) else found, "param_scheduler"):
            if scheduler.get("by_epoch", True):
                raise self.error(f"has a {scheduler['type']} that counts epochs: set by_epoch=False")
            stretch = iterations / self.max_iters if self.max_iters else 1.0
            bounds = {key: round(stretch * scheduler[key]) for key in ("begin", "end", "T_max") if key in scheduler}
            if problem := _problem_of_scheduler(scheduler, self.max_iters or iterations):
                raise self.error(f"has a {scheduler['type']} {problem}")
            yield {**scheduler, **bounds}

    def hooks(self) -> Iterator[Mapping[str, Any]]:
        """Yield the configs of the hooks in `custom_hooks`, except ConfidenceHook, which clipes always adds itself.

        Raises:
            ConfigError: a hook is not a dict with a type.
        """
        found = self._typed(self.values.get("custom_hooks") or (), "custom_hooks")
        return (hook for hook in found if hook["type"] != "ConfidenceHook")

    @property
    def _dataloader(self) -> Mapping[str, Any]:
        return self.values.get("train_dataloader", {})

    def _typed(self, sections: Iterable[Any], key: str) -> Iterator[Mapping[str, Any]]:
        for section in sections:
            if not isinstance(section, Mapping) or not isinstance(section.get("type"), str):
                raise self.error(f"has {section!r} in {key}: expected a dict whose key 'type' is the name of a class")
            yield section


def count_of(config: MmsegConfig, key: str, value: Any) -> int | None:
    """Return a number of photos or iterations as an int; None if the config does not set it.

    Args:
        config: config that contains the number.
        key: dotted key of the number, for messages.
        value: the number, as the config states it.

    Raises:
        ConfigError: it is not a positive whole number, or it is too large.
    """
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 1 <= value <= MOST or value % 1:
        raise config.error(f"has {key} = {value!r}: expected a whole number from 1 to {MOST}")
    return int(value)


def _move_confidence(config: MmsegConfig, transform: dict[str, Any]) -> None:
    """Replace a transform that pads; raise ConfigError for Albu, which does not transform the confidence map."""
    kind = str(transform.get("type")).rpartition(".")[2]
    if kind == "Albu":
        raise config.error(
            "has Albu in train_pipeline, but Albu does not transform the confidence map: use MMSegmentation's own "
            "transforms instead"
        )
    if kind in PADDING:
        transform["type"] = PADDING[kind]


def _problem_of_scheduler(scheduler: Mapping[str, Any], iterations: int) -> str | None:
    for key, value in scheduler.items():
        if isinstance(value, int | float) and value < 0 and key != "last_step":  # a last_step of -1 means the start
            return f"with a negative {key}: expected 0 or more"
    if scheduler.get("begin", 0) >= iterations:
        return (
            f"that begins at iteration {scheduler['begin']}, but the training has only {iterations} iterations: lower "
            "its begin, or raise the number of iterations"
        )
    return None


def read_mmseg_config(name: str) -> MmsegConfig:
    """Read an MMSegmentation config file.

    Args:
        name: name of a shipped config, or path of a `.py` file.

    Raises:
        ConfigError: the file does not exist, raises an error, has a number that is too large for floating-point
            arithmetic, or has no model with a decode_head.
    """
    path = Path(name) if name.endswith(".py") else MMSEG_CONFIGS / f"{name}.py"
    if not path.is_file():
        shipped = ", ".join(sorted(each.stem for each in MMSEG_CONFIGS.glob("*.py")))
        raise ConfigError(f"train.mmseg_config: {path} does not exist; choose an existing .py file or one of {shipped}")
    try:
        with refuse_exit():
            values = Config.fromfile(path, import_custom_modules=False).to_dict()
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # the file is a program, which may raise anything
        raise ConfigError(f"train.mmseg_config: {path} cannot be read: {type(exc).__name__}: {exc}") from exc
    huge = next((key for key, value in config_values(values) if isinstance(value, int) and abs(value) > LARGEST), None)
    if huge is not None:
        raise ConfigError(f"train.mmseg_config: {path} has a number of more than 300 digits: correct {huge}")
    if not isinstance(values.get("model"), dict) or "decode_head" not in values["model"]:
        raise ConfigError(f"train.mmseg_config: {path} has no model with a decode_head")
    return MmsegConfig(name, values)
