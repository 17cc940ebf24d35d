"""The classes of a run with ids and colours, as every export states them in classes.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from clipes.tasks.storage.run_status import recorded_vocabulary
from clipes_core.pseudo_mask import IGNORE_INDEX

FILE = "classes.json"
BACKGROUND, IGNORE = "background", "ignore"


@dataclass(frozen=True)
class ClassColour:
    """A class id, its name, and its colour in RGB, [0, 255]."""

    id: int
    name: str
    colour: tuple[int, int, int]

    @property
    def hex_colour(self) -> str:
        """The colour as in HTML, such as #80c0ff."""
        return "#" + bytes(self.colour).hex()


@dataclass(frozen=True)
class Classes:
    """The classes of a run.

    Attributes:
        background: the id 0.
        named: the classes 1..K of the vocabulary.
        ignore: the id 255, with a name that no class has.
    """

    background: ClassColour
    named: tuple[ClassColour, ...]
    ignore: ClassColour

    @classmethod
    def of_run(cls, run: Mapping[str, Any]) -> Self:
        """Return the classes of a run.

        Args:
            run: content of run.json.

        Raises:
            UsageError: an earlier version of clipes made the run, and did not record the classes; or it is an ablation.
        """
        vocabulary = recorded_vocabulary(run)
        names, colours = list(vocabulary.ids), vocabulary.palette
        named = (ClassColour(number, name, colours[number]) for number, name in enumerate(names, start=1))
        return cls(
            ClassColour(0, _unused(BACKGROUND, names), colours[0]),
            tuple(named),
            ClassColour(IGNORE_INDEX, _unused(IGNORE, names), colours[IGNORE_INDEX]),
        )

    def to_json(self) -> bytes:
        """Return the content of classes.json: a list of all ids, from the background to the ignored pixels."""
        lines = (json.dumps(asdict(each), ensure_ascii=False) for each in (self.background, *self.named, self.ignore))
        return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def _unused(name: str, names: list[str]) -> str:
    """Return a name that no class has: the name itself, or with underscores appended."""
    return _unused(f"{name}_", names) if name in names else name
