"""The photos of a run as a table of pandas."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from clipes.tasks.machine.background import map_in_threads
from clipes.tasks.stages.columns.confidence import shard_confidence
from clipes.tasks.stages.columns.mask_facts import shard_mask_facts
from clipes.tasks.stages.mask_scores import CELL_COLUMNS, MASK_SCORES, photo_mious
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.storage.parquet.reading import read_table, rows_of
from clipes_core.config.extras import NOTEBOOK
from clipes_core.evaluation.scored import PSEUDO_MASK

if TYPE_CHECKING:
    import pandas as pd

    from clipes.api.opened_run import Run

T = TypeVar("T")


def run_table(run: "Run") -> "pd.DataFrame":
    """Return the table that `Run.to_pandas` describes.

    Raises:
        ConfigError: pandas is not installed.
        ArtifactError: an artifact cannot be read.
    """
    NOTEBOOK.check("Run.to_pandas", "")
    import pandas as pd

    listed, checks = run.listed, run.checks
    ids = listed["image_id"].to_pylist()
    states = _merged(run, MASKS.name, _states)
    columns: dict[str, Any] = {
        "id": ids,
        "uri": listed["uri"].to_pylist(),
        "labels": [tuple(run.classes[each - 1] for each in present) for present in listed["class_ids"].to_pylist()],
        "status": [states.get(each, ("pending", None))[0] for each in ids],
        "error": [states.get(each, ("pending", None))[1] for each in ids],
        "reasons": [tuple(each.text for each in checks[name].reasons) if name in checks else () for name in ids],
        "severity": [checks[name].severity if name in checks else 0.0 for name in ids],
    }
    numbers = {
        "confidence": _merged(run, MASKS.name, lambda uri: shard_confidence(uri).means),
        "foreground": _merged(run, MASKS.name, _foregrounds),
        "miou": _merged(run, MASK_SCORES.name, lambda uri: _mious(uri, 1 + len(run.classes))),
    }
    columns |= {name: pd.Series([found.get(each) for each in ids], dtype=float) for name, found in numbers.items()}
    order = ("id", "uri", "labels", "status", "error", *numbers, "reasons", "severity")
    return pd.DataFrame({name: columns[name] for name in order})


def _merged(run: "Run", stage: str, read: Callable[[str], Mapping[str, T]]) -> dict[str, T]:
    """Return id of a photo -> what a function reads for it from the artifacts of a stage."""
    return {
        image_id: value for shard in map_in_threads(read, run.artifacts(stage)) for image_id, value in shard.items()
    }


def _states(uri: str) -> dict[str, tuple[str, str | None]]:
    rows = rows_of(read_table(uri, ("image_id", "status", "error")))
    return {row["image_id"]: (row["status"], row["error"]) for row in rows}


def _foregrounds(uri: str) -> dict[str, float]:
    return {image_id: facts.foreground or 0.0 for image_id, facts in shard_mask_facts(uri).items()}


def _mious(uri: str, num_classes: int) -> dict[str, float]:
    return dict(_each_miou(uri, num_classes))


def _each_miou(uri: str, num_classes: int) -> Iterator[tuple[str, float]]:
    for row in rows_of(read_table(uri, ("image_id", "status", *CELL_COLUMNS))):
        mious = photo_mious(row, num_classes) if row["status"] == "ok" else {}
        if PSEUDO_MASK.key in mious:
            yield row["image_id"], mious[PSEUDO_MASK.key]
