"""Find the sections of a network's config. This module imports neither torch nor MMSegmentation."""

from collections.abc import Iterator, Mapping
from typing import Any


def config_sections(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the sections of a config: the config itself, and every dict nested in it."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from config_sections(item)


def is_timm(section: Mapping[str, Any]) -> bool:
    """Return whether a section of a network's config describes a timm backbone."""
    return str(section.get("type")).rpartition(".")[2] == "TIMMBackbone"
