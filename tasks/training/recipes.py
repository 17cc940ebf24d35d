"""What a training does: an MMSegmentation config with the run's classes and losses in it.

MMEngine and torch take seconds to import; they are imported where a config is read.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clipes.tasks.machine.shipped import MMSEG_CONFIGS
from clipes.tasks.plan.keys import digest
from clipes_core.confidence import PAPER_MU
from clipes_core.config.run import RunConfig, TrainConfig
from clipes_core.errors import ConfigError
from clipes_core.pseudo_mask import IGNORE_INDEX

PADDING = {"Pad": "PadWithConfidence"}  # mmcv's knows the labels alone


@dataclass(frozen=True)
class Recipe:
    """A training, but for its photos; plain values.

    Attributes:
        model: for MODELS.build, with the run's classes and losses and without initial weights.
        pipeline: transforms from a photo with its maps to a data sample.
        batch_size: photos of one iteration, on all devices together.
        optim_wrapper: for OPTIM_WRAPPERS.build, in float32.
        param_scheduler: of the learning rate.
        iterations: how many.
        hooks: the config's own.
        precision: fp32, bf16 or fp16.
        init: initial weights: torchvision://NAME, a file or URI, or none.
        ignore_below: labels less confident become 255; None leaves them.
        seed: of initial weights, order and augmentation.
        imports: the config's own modules, which register what it names.
        inputs: what else the result depends on: EXIF rule, digest of the initial weights.
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
        """Iterations whose gradients make one step of the optimizer."""
        return int(self.optim_wrapper.get("accumulative_counts", 1))

    @property
    def digest(self) -> str:
        """Changes with all that moves a number of the result; not with where the initial weights lie."""
        values = asdict(self)
        del values["init"]  # see inputs
        return digest(values)


def read_recipe(config: RunConfig, num_classes: int, precision: str) -> Recipe:
    """Read the MMSegmentation config of a run and put the run's classes, losses and steps into it.

    Args:
        config: of the run; `train` and `dataset.exif` are read.
        num_classes: 1 + K.
        precision: with auto resolved.

    Raises:
        ConfigError: the config is not there, is broken, or cannot be trained this way.
        WeightsError: the initial weights are not there.
        TransientError: their store does not answer.
    """
    train = config.train
    read = _read(train.mmseg_config)
    with _of_the_right_kind(train.mmseg_config):
        recipe = _recipe(config, read, num_classes, precision)
        recipe.accumulated  # noqa: B018 - a number, or told here
    _check_plain(recipe, train.mmseg_config)
    return recipe


def _recipe(config: RunConfig, read: dict[str, Any], num_classes: int, precision: str) -> Recipe:
    from clipes.tasks.training.initial_weights import NO_WEIGHTS, initial_digest  # which bring torch

    train = config.train
    loop = read.get("train_cfg") or {}
    iterations = train.iterations or loop.get("max_iters")
    if iterations is None:
        raise ConfigError(f"train.iterations: must be set, for {train.mmseg_config} has no train_cfg.max_iters")
    init = train.init or _own_init(read["model"], train.mmseg_config) or NO_WEIGHTS
    return Recipe(
        model=_model(read["model"], num_classes, train),
        pipeline=tuple(_pipeline(read, train.mmseg_config)),
        batch_size=_batch_size(read),
        optim_wrapper=_optim_wrapper(read, train.mmseg_config),
        param_scheduler=tuple(_schedulers(read, iterations, loop.get("max_iters"), train.mmseg_config)),
        iterations=int(iterations),
        hooks=tuple(_hooks(read, train.mmseg_config)),
        precision=precision,
        init=init,
        ignore_below=PAPER_MU if train.loss == "cgl" and train.mu == "labels" else None,
        seed=train.seed,
        inputs=(config.dataset.exif, initial_digest(init)),
        imports=_imports(read),
    )


@contextmanager
def _of_the_right_kind(name: str) -> Iterator[None]:
    """A config is a program, and may hold anything in any place."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        told = f"{name} has a value of another kind than MMSegmentation's configs: {type(exc).__name__}: {exc}"
        raise ConfigError(f"train.mmseg_config: {told}") from exc


def _read(name: str) -> dict[str, Any]:
    from mmengine.config import Config

    path = Path(name) if name.endswith(".py") else MMSEG_CONFIGS / f"{name}.py"
    if not path.is_file():
        shipped = ", ".join(sorted(each.stem for each in MMSEG_CONFIGS.glob("*.py")))
        raise ConfigError(f"train.mmseg_config: no file {path}; give the path of a .py, or one of: {shipped}")
    try:
        read = Config.fromfile(path, import_custom_modules=False).to_dict()
    except Exception as exc:  # it is a program: what it raises is up to it
        raise ConfigError(f"train.mmseg_config: {path} cannot be read: {type(exc).__name__}: {exc}") from exc
    if not isinstance(read.get("model"), dict) or "decode_head" not in read["model"]:
        raise ConfigError(f"train.mmseg_config: {path} has no model with a decode_head")
    return read


def _model(model: Mapping[str, Any], num_classes: int, train: TrainConfig) -> dict[str, Any]:
    made = deepcopy(dict(model))
    for head in _heads(made):
        _fill_head(head, num_classes, train)
    for part in _parts(made):
        _drop_initial_weights(part)
    preprocessor = made.setdefault("data_preprocessor", {"type": "SegDataPreProcessor"})
    preprocessor["seg_pad_val"] = IGNORE_INDEX
    return made


def _heads(model: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key in ("decode_head", "auxiliary_head"):
        found = model.get(key) or ()
        yield from [found] if isinstance(found, dict) else found


def _fill_head(head: dict[str, Any], num_classes: int, train: TrainConfig) -> None:
    before = head.get("loss_decode") or {}
    weights = [each.get("loss_weight", 1.0) for each in ([before] if isinstance(before, dict) else before)]
    counts = train.loss == "cgl" and train.mu != "labels"
    head["num_classes"], head["ignore_index"] = num_classes, IGNORE_INDEX
    head.pop("out_channels", None)
    head.pop("threshold", None)
    head["loss_decode"] = {
        "type": "ConfidenceGuidedLoss",
        "mu": train.mu if counts else 0.0,
        "loss_weight": weights[0] if weights else 1.0,
        "loss_name": f"loss_{train.loss}",
    }


def _own_init(model: Mapping[str, Any], name: str) -> str | None:
    """The initial weights that a config names for its network, or for the backbone."""
    for part in (model, model.get("backbone", {})):
        for found in _initial_weights(part):
            return found
    if of_parts := [found for part in _parts(dict(model)) for found in _initial_weights(part)]:
        told = f"{name} names initial weights of a part of its network, {of_parts[0]}, which are not followed"
        raise ConfigError(f"train.mmseg_config: {told}: set train.init to none, or to a file")
    return None


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """A config and all dicts in it."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _parts(item)


def _initial_weights(part: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(part.get("pretrained"), str):
        yield part["pretrained"]
    yield from (str(each["checkpoint"]) for each in _init_cfgs(part) if each.get("type") == "Pretrained")


def _init_cfgs(part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """One initialisation or several; weights to load may be among them."""
    found = part.get("init_cfg") or ()
    return [found] if isinstance(found, Mapping) else list(found)


def _drop_initial_weights(part: dict[str, Any]) -> None:
    """Leave of a part what is drawn."""
    part.pop("pretrained", None)
    if str(part.get("type")).rpartition(".")[2] == "TIMMBackbone":  # which fetches weights if nothing is said
        part["pretrained"] = False
    if any(each.get("type") == "Pretrained" for each in _init_cfgs(part)):
        drawn = [each for each in _init_cfgs(part) if each.get("type") != "Pretrained"]
        part.update(init_cfg=drawn) if drawn else part.pop("init_cfg")


def _check_plain(recipe: Recipe, name: str) -> None:
    try:
        json.dumps(asdict(recipe))
    except (TypeError, ValueError) as exc:
        told = f"{name} has a value that is no number, text, list or dict"
        raise ConfigError(f"train.mmseg_config: {told}: {exc}") from exc


def _imports(read: Mapping[str, Any]) -> tuple[str, ...]:
    found = (read.get("custom_imports") or {}).get("imports", ())
    return (found,) if isinstance(found, str) else tuple(found)


def _pipeline(read: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    found = read.get("train_pipeline") or read.get("train_dataloader", {}).get("dataset", {}).get("pipeline")
    if not found:
        raise ConfigError(f"train.mmseg_config: {name} has no train_pipeline")
    for transform in deepcopy(list(_typed(found, "train_pipeline", name))):
        kind = transform["type"]
        if not kind.startswith("Load") and kind not in ("PackSegInputs", "PackConfidence"):
            for part in _parts(transform):  # of those that choose among others, too
                _move_confidence(part, name)
            yield dict(transform)
    yield {"type": "PackConfidence"}


def _move_confidence(transform: dict[str, Any], name: str) -> None:
    kind = str(transform.get("type")).rpartition(".")[2]
    if kind == "Albu":
        told = f"{name}: Albu moves labels without their confidence: take MMSegmentation's own transforms"
        raise ConfigError(f"train.mmseg_config: {told}")
    if kind in PADDING:
        transform["type"] = PADDING[kind]


def _batch_size(read: Mapping[str, Any]) -> int:
    return int(read.get("train_batch_size") or read.get("train_dataloader", {}).get("batch_size") or 1)


def _optim_wrapper(read: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = dict(read.get("optim_wrapper") or {})
    if "optimizer" not in found:
        raise ConfigError(f"train.mmseg_config: {name} has no optim_wrapper.optimizer")
    for of_precision in ("dtype", "loss_scale"):  # train.precision says it
        found.pop(of_precision, None)
    return {**found, "type": "OptimWrapper"}


def _schedulers(read: Mapping[str, Any], iterations: int, before: int | None, name: str) -> Iterator[dict[str, Any]]:
    """The schedule, stretched where another number of iterations is asked for."""
    found = read.get("param_scheduler") or ()
    for scheduler in _typed([found] if isinstance(found, dict) else found, "param_scheduler", name):
        if scheduler.get("by_epoch", True):
            raise ConfigError(f"train.mmseg_config: {name}: {scheduler['type']} counts epochs: set by_epoch=False")
        stretch = iterations / before if before else 1.0
        bounds = {key: round(stretch * scheduler[key]) for key in ("begin", "end", "T_max") if key in scheduler}
        yield {**scheduler, **bounds}


def _hooks(read: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    found = _typed(read.get("custom_hooks") or (), "custom_hooks", name)
    return (hook for hook in found if hook["type"] != "ConfidenceHook")


def _typed(parts: Iterable[Any], key: str, name: str) -> Iterator[Mapping[str, Any]]:
    for part in parts:
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            found = f"{name}: {key} has {part!r}, expected a dict with a type by name"
            raise ConfigError(f"train.mmseg_config: {found}")
        yield part
