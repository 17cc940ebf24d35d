"""Read a config file of MMSegmentation, and check the parts that a training needs."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from clipes.tasks.machine.shipped_files import MMSEG_CONFIGS
from clipes.tasks.models.config_sections import config_sections
from clipes_core.errors import ConfigError

PADDING = {"Pad": "PadWithConfidence"}  # mmcv's Pad pads the labels but not the confidence
RENAMED_MODULES = {
    "tasks.training.dataset": "clipes.tasks.training.data.dataset",
    "tasks.training.sampler": "clipes.tasks.training.data.sampler",
}  # old name -> new name; a module imported under both would register its classes twice


@dataclass(frozen=True)
class MmsegConfig:
    """The content of a config file.

    Attributes:
        name: name of the shipped config or path of the file, for messages.
        values: variables of the config.
    """

    name: str
    values: Mapping[str, Any]

    @contextmanager
    def translate_type_errors(self) -> Iterator[None]:
        """Raise errors about values of an unexpected type as ConfigError, because a config may hold any value.

        Raises:
            ConfigError: a value has an unexpected type; the message names the config.
        """
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise self.error(
                f"has a value whose type differs from MMSegmentation's configs: {type(exc).__name__}: {exc}"
            ) from exc

    def error(self, problem: str) -> ConfigError:
        """Return an error that says what is wrong with this config."""
        return ConfigError(f"train.mmseg_config: {self.name} {problem}")

    @property
    def model(self) -> Mapping[str, Any]:
        """The network."""
        return self.values["model"]

    @property
    def max_iters(self) -> int | None:
        """Number of iterations that the config sets; None if it sets none."""
        return (self.values.get("train_cfg") or {}).get("max_iters")

    @property
    def batch_size(self) -> int:
        """Number of photos per iteration."""
        return int(self.values.get("train_batch_size") or self._dataloader.get("batch_size") or 1)

    @property
    def imports(self) -> tuple[str, ...]:
        """The modules that custom_imports names.

        Raises:
            ConfigError: a name is that of a module in an earlier version of clipes.
        """
        found = (self.values.get("custom_imports") or {}).get("imports", ())
        names = (found,) if isinstance(found, str) else tuple(found)
        for name in names:
            if name in RENAMED_MODULES:
                raise self.error(
                    f"names {name} in custom_imports, a module that was renamed: write {RENAMED_MODULES[name]} instead"
                )
        return names

    def pipeline(self) -> Iterator[dict[str, Any]]:
        """Yield the transforms, except those that load files; make padding and packing handle the confidence too.

        Raises:
            ConfigError: there are no transforms, or one of them would not transform the confidence.
        """
        found = self.values.get("train_pipeline") or self._dataloader.get("dataset", {}).get("pipeline")
        if not found:
            raise self.error("has no train_pipeline")
        for transform in deepcopy(list(self._typed(found, "train_pipeline"))):
            kind = transform["type"]
            if not kind.startswith("Load") and kind not in ("PackSegInputs", "PackConfidence"):
                for section in config_sections(transform):  # a transform may contain others, to choose from
                    self._move_confidence(section)
                yield dict(transform)
        yield {"type": "PackConfidence"}

    def optim_wrapper(self) -> dict[str, Any]:
        """Return the optimizer wrapper in float32.

        Raises:
            ConfigError: the config has no optimizer.
        """
        found = dict(self.values.get("optim_wrapper") or {})
        if "optimizer" not in found:
            raise self.error("has no optim_wrapper.optimizer")
        for of_precision in ("dtype", "loss_scale"):  # train.precision decides
            found.pop(of_precision, None)
        return {**found, "type": "OptimWrapper"}

    def schedulers(self, iterations: int) -> Iterator[dict[str, Any]]:
        """Yield the schedulers, stretched from the config's number of iterations to the given one.

        Raises:
            ConfigError: a scheduler counts epochs.
        """
        found = self.values.get("param_scheduler") or ()
        for scheduler in self._typed([found] if isinstance(found, dict) else found, "param_scheduler"):
            if scheduler.get("by_epoch", True):
                raise self.error(f"has a {scheduler['type']} that counts epochs: set by_epoch=False")
            stretch = iterations / self.max_iters if self.max_iters else 1.0
            bounds = {key: round(stretch * scheduler[key]) for key in ("begin", "end", "T_max") if key in scheduler}
            yield {**scheduler, **bounds}

    def hooks(self) -> Iterator[Mapping[str, Any]]:
        """Yield the config's own hooks, without ConfidenceHook, which every training has.

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
                raise self.error(f"has {section!r} in {key}, expected a dict with the name of a type")
            yield section

    def _move_confidence(self, transform: dict[str, Any]) -> None:
        kind = str(transform.get("type")).rpartition(".")[2]
        if kind == "Albu":
            raise self.error("has Albu in train_pipeline, which leaves the confidence behind: use MMSegmentation's own")
        if kind in PADDING:
            transform["type"] = PADDING[kind]


def read_mmseg_config(name: str) -> MmsegConfig:
    """Read a config file.

    Args:
        name: name of a shipped config, or path of a `.py` file.

    Raises:
        ConfigError: there is no such file, it raises an error, or it has no model with a decode_head.
    """
    path = Path(name) if name.endswith(".py") else MMSEG_CONFIGS / f"{name}.py"
    if not path.is_file():
        shipped = ", ".join(sorted(each.stem for each in MMSEG_CONFIGS.glob("*.py")))
        raise ConfigError(f"train.mmseg_config: {path} does not exist; give the path of a .py, or one of: {shipped}")
    try:
        values = Config.fromfile(path, import_custom_modules=False).to_dict()
    except Exception as exc:  # the file is a program, which may raise anything
        raise ConfigError(f"train.mmseg_config: {path} cannot be read: {type(exc).__name__}: {exc}") from exc
    if not isinstance(values.get("model"), dict) or "decode_head" not in values["model"]:
        raise ConfigError(f"train.mmseg_config: {path} has no model with a decode_head")
    return MmsegConfig(name, values)
