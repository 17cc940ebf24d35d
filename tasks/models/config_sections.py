"""Find the parts of a network's config. This module works without torch and MMSegmentation."""

from collections.abc import Iterator, Mapping
from typing import Any


def config_sections(value: Any) -> Iterator[dict[str, Any]]:
    """Yield a config and every dict in it."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from config_sections(item)


def is_timm(section: Mapping[str, Any]) -> bool:
    """Return whether a section is a backbone of timm, which downloads weights by default."""
    return str(section.get("type")).rpartition(".")[2] == "TIMMBackbone"
