"""The config of a network as text that comes back as it was, and what of one from a file may be built.

MMEngine's registry imports names that it does not know, and calls them. So a config from a file is built only where all
that it names is registered, while nothing is imported, and without what its modules would read or fetch themselves.
"""

import clipes_core.segmentation  # noqa: F401 - registers modules; first, for it quietens MMSegmentation

# isort: split

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn

from mmengine.registry import Registry as MMEngineRegistry
from mmengine.registry import registry
from mmseg.registry import MODELS, TASK_UTILS

REGISTRIES: tuple[MMEngineRegistry, ...] = (MODELS, TASK_UTILS)
TUPLE = "__tuple__"  # JSON has lists alone, and some networks ask for tuples
INITIAL_WEIGHTS = ("init_cfg", "pretrained")  # of which a network may be made; they are files and downloads
OF_TIMM = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")  # timm reads these files
NEVER_BUILT = ("VPD",)  # builds, and loads, what its config names


def as_text(model_config: Mapping[str, Any]) -> str:
    """A network's config as JSON, tuples marked as such.

    Raises:
        TypeError: it has a value that is no number, text, list, tuple or dict, or a key that is no text.
    """
    return json.dumps(_marked(model_config))


def from_text(text: str) -> Any:
    """What `as_text` was given.

    Raises:
        ValueError: it is no JSON, or nested too deep.
    """
    try:
        return json.loads(text, object_hook=_unmarked)
    except RecursionError as exc:
        raise ValueError("nested too deep") from exc


def without_initial_weights(value: Any) -> Any:
    """A config whose network is built from nothing; class weights of losses that are file names are left out too."""
    if isinstance(value, list | tuple):
        return type(value)(without_initial_weights(item) for item in value)
    if not isinstance(value, Mapping):
        return value
    dropped = {*INITIAL_WEIGHTS, *(name for name, item in value.items() if _class_weight_file(name, item))}
    if _of_timm(value):
        dropped |= {*OF_TIMM}
    kept = {name: without_initial_weights(item) for name, item in value.items() if name not in dropped}
    return {**kept, "pretrained": False} if _of_timm(value) else kept  # timm fetches some where nothing is said


def unregistered(model_config: Any) -> list[str]:
    """What a network's config names that nothing registers, or that is not built from a file in any case."""
    known = {name for registry in REGISTRIES for name in _names(registry)}
    named = [str(name) for section in _sections(model_config) for name in _named(section)]
    return [name for name in named if name not in known or name.rpartition(".")[2] in NEVER_BUILT]


@contextmanager
def nothing_imported() -> Iterator[None]:
    """For the block, MMEngine's registries look up what is registered, and import nothing."""
    before = registry.import_module, registry.get_object_from_string
    registry.import_module, registry.get_object_from_string = _imported_before, _refused
    try:
        yield
    finally:
        registry.import_module, registry.get_object_from_string = before


def _imported_before(name: str) -> ModuleType:
    return sys.modules[name] if name in sys.modules else _refused(name)


def _refused(name: str) -> NoReturn:
    raise ImportError(f"{name} is not registered")


def _named(section: Mapping[str, Any]) -> Iterator[Any]:
    """What MMEngine, or timm, looks up for a section."""
    yield from (section[key] for key in ("type", "_scope_") if key in section)
    if _of_timm(section) and "norm_layer" in section:
        yield section["norm_layer"]
    if _of_timm(section) and ":" in str(section.get("model_name")):  # of a hub
        yield section["model_name"]


def _of_timm(section: Mapping[str, Any]) -> bool:
    return str(section.get("type")).rpartition(".")[2] == "TIMMBackbone"


def _marked(value: Any) -> Any:
    if isinstance(value, Mapping):
        if foreign := [name for name in value if not isinstance(name, str)]:
            raise TypeError(f"{foreign[0]!r} is a key, and no text")
        return {name: _marked(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return {TUPLE: [_marked(item) for item in value]}
    return [_marked(item) for item in value] if isinstance(value, list) else value


def _unmarked(found: dict[str, Any]) -> Any:
    return tuple(found[TUPLE]) if found.keys() == {TUPLE} and isinstance(found[TUPLE], list) else found


def _class_weight_file(name: str, value: Any) -> bool:
    return name == "class_weight" and isinstance(value, str)


def _names(found: MMEngineRegistry | None) -> Iterator[str]:
    """What a registry and those that it falls back to know, by plain name and with their scope before it."""
    while found is not None:
        yield found.scope
        for name in found.module_dict:
            yield from (name, f"{found.scope}.{name}")
        found = found.parent


def _sections(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _sections(item)
