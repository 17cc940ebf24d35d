"""The Jinja environment of the report: templates, and filters that format values. Jinja escapes every text."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from clipes.tasks.report.facts import RunFacts
from clipes.tasks.report.gallery.cards import Card
from clipes_core.vocabulary import Vocabulary


def page_environment(*folders: Path) -> Environment:
    """Return an environment with the templates of some folders and of this folder."""
    # importlib.resources is not used, because it cannot open the namespace packages of an editable installation.
    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = {"percent": _percent, "points": _points, "moment": _moment, "duration": _duration, "styles": _styles}
    environment.filters.update(filters)
    return environment


def names_of(vocabulary: Vocabulary) -> list[str]:
    """Return the names of the background and of the classes, by class id."""
    return ["background", *(entry.name for entry in vocabulary.classes)]


def export_command(facts: RunFacts) -> str:
    """Return the command that writes the masks of a run as files."""
    return shlex.join(["clipes", "export", facts.config.name, "--to", "exported", "--store", facts.config.store])


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}%"


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _moment(stamp: str) -> str:
    return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M} UTC"


def _duration(run: Mapping[str, Any]) -> str:
    if run["finished"] is None:
        return "not finished"
    seconds = round((datetime.fromisoformat(run["finished"]) - datetime.fromisoformat(run["started"])).total_seconds())
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    if hours:
        return f"took {hours} h {minutes} min"
    return f"took {minutes} min {seconds % 60} s" if minutes else f"took {seconds} s"


def _styles(card: Card) -> str:
    """Return the looks of a card's classes as JSON, for the scripts of the page."""
    return json.dumps({class_id: asdict(style) for class_id, style in card.styles.items()})
