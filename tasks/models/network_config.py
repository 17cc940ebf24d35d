"""Serialise network configs, and check whether clipes may build a network from an untrusted config.

If a config contains the name of a type that MMEngine's registry does not know, the registry imports the object with
this name and calls the object. Therefore clipes builds a network from the config in a file only if all names in the
config are registered. Before clipes builds the network, it removes the keys that would make the network read or
download files. While clipes builds the network, imports are blocked.
"""

import clipes_core.segmentation  # noqa: F401 - registers modules; first, because it hides MMSegmentation's warnings

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

from clipes.tasks.models.config_sections import config_sections, is_timm

REGISTRIES: tuple[MMEngineRegistry, ...] = (MODELS, TASK_UTILS)
TUPLE_KEY = "__tuple__"  # marks tuples, which JSON lacks and some networks need
INITIAL_WEIGHT_KEYS = ("init_cfg", "pretrained")  # keys that name initial weights to read or download
# Keys of a timm backbone that name files or folders that timm reads.
TIMM_FILE_KEYS = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
NEVER_BUILT = ("VPD",)  # registered types that clipes never builds; VPD loads any file that its config names


def as_text(model_config: Mapping[str, Any]) -> str:
    """Serialise a network's config as JSON. Tuples are marked, so that `from_text` can restore them.

    Raises:
        TypeError: the config has a key that is not a string, or a value of a type that JSON lacks. Tuples are allowed.
    """
    return json.dumps(_mark_tuples(model_config))


def from_text(text: str) -> Any:
    """Return the config that `as_text` serialised.

    Raises:
        ValueError: the text is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text, object_hook=_unmark_tuples)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def without_initial_weights(value: Any) -> Any:
    """Return a copy of a config in which no dict has a key that makes a network read or download files."""
    if isinstance(value, list | tuple):
        return type(value)(without_initial_weights(item) for item in value)
    if not isinstance(value, Mapping):
        return value
    dropped = {*INITIAL_WEIGHT_KEYS, *(name for name, item in value.items() if _is_class_weight_file(name, item))}
    if is_timm(value):
        dropped |= {*TIMM_FILE_KEYS}
    kept = {name: without_initial_weights(item) for name, item in value.items() if name not in dropped}
    return {**kept, "pretrained": False} if is_timm(value) else kept  # timm downloads weights by default


def unregistered(model_config: Any) -> list[str]:
    """Return the names in a network's config that are not registered, and the names that are in NEVER_BUILT."""
    known = {name for registry in REGISTRIES for name in _names(registry)}
    named = [str(name) for section in config_sections(model_config) for name in _named(section)]
    return [name for name in named if name not in known or name.rpartition(".")[2] in NEVER_BUILT]


@contextmanager
def block_imports() -> Iterator[None]:
    """Prevent MMEngine's registries from importing modules while the `with` block runs."""
    before = registry.import_module, registry.get_object_from_string
    registry.import_module, registry.get_object_from_string = _get_imported, _refuse
    try:
        yield
    finally:
        registry.import_module, registry.get_object_from_string = before


def _get_imported(name: str) -> ModuleType:
    return sys.modules[name] if name in sys.modules else _refuse(name)


def _refuse(name: str) -> NoReturn:
    raise ImportError(f"{name} is not registered")


def _named(section: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the names in one section of a config that MMEngine or timm would look up."""
    yield from (section[key] for key in ("type", "_scope_") if key in section)
    if is_timm(section) and "norm_layer" in section:
        yield section["norm_layer"]
    if is_timm(section) and ":" in str(section.get("model_name")):  # such a name refers to a model in a hub
        yield section["model_name"]


def _mark_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        if foreign := [name for name in value if not isinstance(name, str)]:
            raise TypeError(f"the key {foreign[0]!r} is not text")
        return {name: _mark_tuples(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return {TUPLE_KEY: [_mark_tuples(item) for item in value]}
    return [_mark_tuples(item) for item in value] if isinstance(value, list) else value


def _unmark_tuples(found: dict[str, Any]) -> Any:
    return tuple(found[TUPLE_KEY]) if found.keys() == {TUPLE_KEY} and isinstance(found[TUPLE_KEY], list) else found


def _is_class_weight_file(name: str, value: Any) -> bool:
    return name == "class_weight" and isinstance(value, str)


def _names(found: MMEngineRegistry | None) -> Iterator[str]:
    """For a registry and each of its parents, yield the scope, and each registered name with and without the scope."""
    while found is not None:
        yield found.scope
        for name in found.module_dict:
            yield from (name, f"{found.scope}.{name}")
        found = found.parent
