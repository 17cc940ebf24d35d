"""The config of a network as text that comes back as it was, and what of one from a file may be built.

MMSegmentation's registry imports names that it does not know, and calls them. So a config from a file is built only
where all that it names is registered, and without what its modules would read, fetch or import themselves.
"""

import clipes_core.segmentation  # noqa: F401 - registers modules; first, for it quietens MMSegmentation

# isort: split

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.registry import Registry as MMEngineRegistry
from mmseg.registry import MODELS, TASK_UTILS

REGISTRIES: tuple[MMEngineRegistry, ...] = (MODELS, TASK_UTILS)
TUPLE = "__tuple__"  # JSON has lists alone, and some networks ask for tuples
NAMING = ("type", "_scope_", "norm_layer")  # keys whose values a constructor looks up
INITIAL_WEIGHTS = ("init_cfg", "pretrained")  # of which a network may be made; they are files and downloads
TIMM = "TIMMBackbone"
OF_TIMM = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")  # timm reads these files
NEVER_BUILT = ("VPD",)  # builds, and loads, what its config names


def as_text(model_config: Mapping[str, Any]) -> str:
    """A network's config as JSON, tuples marked as such.

    Raises:
        TypeError: it has a value that is no number, text, list, tuple or dict.
    """
    return json.dumps(_marked(model_config))


def from_text(text: str) -> Any:
    """What `as_text` was given.

    Raises:
        ValueError: it is no JSON.
    """
    return json.loads(text, object_hook=_unmarked)


def without_initial_weights(value: Any) -> Any:
    """A config whose network is built from nothing; class weights of losses that are file names are left out too."""
    if isinstance(value, list | tuple):
        return type(value)(without_initial_weights(item) for item in value)
    if not isinstance(value, Mapping):
        return value
    dropped = {*INITIAL_WEIGHTS, *(name for name, item in value.items() if _class_weight_file(name, item))}
    timm = str(value.get("type")).rpartition(".")[2] == TIMM
    kept = {
        name: without_initial_weights(item)
        for name, item in value.items()
        if name not in dropped and not (timm and name in OF_TIMM)
    }
    return {**kept, "pretrained": False} if timm else kept  # timm fetches some where nothing is said


def unregistered(model_config: Any) -> list[str]:
    """What a network's config names that nothing registers, or that is not built from a file in any case."""
    known = {name for registry in REGISTRIES for name in _names(registry)}
    named = [str(section[key]) for section in _sections(model_config) for key in NAMING if section.get(key) is not None]
    models = [str(section.get("model_name")) for section in _sections(model_config)]
    foreign = [name for name in named if name not in known or name.rpartition(".")[2] in NEVER_BUILT]
    return foreign + [name for name in models if ":" in name]  # of timm, from a hub


def _marked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _marked(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return {TUPLE: [_marked(item) for item in value]}
    return [_marked(item) for item in value] if isinstance(value, list) else value


def _unmarked(found: dict[str, Any]) -> Any:
    return tuple(found[TUPLE]) if found.keys() == {TUPLE} else found


def _class_weight_file(name: str, value: Any) -> bool:
    return name == "class_weight" and isinstance(value, str)


def _names(registry: MMEngineRegistry | None) -> Iterator[str]:
    """What a registry and those that it falls back to know, by plain name and with their scope before it."""
    while registry is not None:
        yield registry.scope
        for name in registry.module_dict:
            yield from (name, f"{registry.scope}.{name}")
        registry = registry.parent


def _sections(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _sections(item)
