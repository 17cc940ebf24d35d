"""Read the published numbers, and the sizes of the splits that they are measured on, from configs/published.yaml."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, Self

import yaml
from pydantic import Field, model_validator

from clipes.tasks.inputs.config_text.yaml_text import check_yaml
from clipes.tasks.machine.shipped_files import PUBLISHED
from clipes_core.config.run import check_section
from clipes_core.config.section import Section
from clipes_core.errors import ConfigError
from clipes_core.evaluation.scored import SCORED

PERCENT: Final = "%"
SHOWN_IDS = 8


class PublishedNumber(Section):
    """A published number. The head of configs/published.yaml explains its fields."""

    value: float
    to: float | None = None
    unit: Literal["%", "h", "GB"] = PERCENT
    what: str
    data: str
    split: str
    init: Literal["imagenet", "coco", "not stated"] | None = None
    figure: str | None = None
    settings: Mapping[str, Any] | None = None
    source: str
    remark: str | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.to is not None and self.to <= self.value:
            raise ValueError("to: must be larger than value")
        if self.figure is not None and self.figure.partition(".")[0] not in {scored.key for scored in SCORED}:
            raise ValueError(f"figure: {self.figure!r} is not a score; use one such as initial_cam or initial_cam.bird")
        if self.figure is not None and self.settings is None:
            raise ValueError("settings: must be set, because figure is set")
        return self

    @property
    def fraction(self) -> float | None:
        """The number in [0, 1], as in metrics.json; None if its unit is not %."""
        return self.value / 100 if self.unit == PERCENT else None

    @property
    def text(self) -> str:
        """The number as the source states it, without its unit."""
        digits = 2 if any(round(end, 1) != end for end in (self.value, self.to or 0)) else 1
        one = f"{self.value:.{digits}f}"
        return one if self.to is None else f"{one}-{self.to:.{digits}f}"


class PublishedSplit(Section):
    """A split of a data set, and its number of photos; of those with labels, if `labelled` is true."""

    data: str
    split: str
    photos: int = Field(..., ge=1)
    labelled: bool = False


class PublishedFacts(Section):
    """The content of configs/published.yaml."""

    splits: tuple[PublishedSplit, ...]
    numbers: Mapping[str, PublishedNumber]


def published_numbers() -> Mapping[str, PublishedNumber]:
    """Return id -> published number, in the order of configs/published.yaml."""
    return _shipped().numbers


def published_number(number_id: str, where: str) -> PublishedNumber:
    """Return the published number of an id.

    Args:
        number_id: key of `numbers` in configs/published.yaml.
        where: file and key that names the id, for messages.

    Raises:
        ConfigError: there is no such number.
    """
    numbers = published_numbers()
    if number_id in numbers:
        return numbers[number_id]
    similar = get_close_matches(number_id, numbers, n=1)
    advice = f"did you mean {similar[0]}?" if similar else f"use an id such as {', '.join([*numbers][:SHOWN_IDS])}"
    raise ConfigError(f"{where}: no published number has the id {number_id!r} in {PUBLISHED.name}; {advice}")


def published_splits(data: str) -> Mapping[str, PublishedSplit]:
    """Return name -> split of the splits of a data set; empty if none is known."""
    return {each.split: each for each in _shipped().splits if each.data == data}


def read_published(path: Path) -> PublishedFacts:
    """Read and check a file of published numbers.

    Raises:
        ConfigError: the file is not YAML, or a key or value is invalid. The message has one line per error.
    """
    try:
        text = path.read_text()
        check_yaml(text)
        values = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise ConfigError(f"{path}: {' '.join(str(exc).split())}") from exc
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected the keys splits and numbers")
    return check_section(PublishedFacts, values, path.name)


@cache
def _shipped() -> PublishedFacts:
    return read_published(PUBLISHED)
