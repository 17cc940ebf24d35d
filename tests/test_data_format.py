"""docs/data-format.md lists every column of every table, with its type, and every kind of error."""

import re
from pathlib import Path

import pyarrow as pa
import pytest

from clipes.tasks.plan.row_schema import PhotoRow, schema_of
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.run_schemas.tables import TABLE_SCHEMAS
from clipes_core.errors import ErrorKind

PAGE = (Path(__file__).parents[1] / "docs/data-format.md").read_text()
SAME_COLUMNS = {
    "evaluation.parquet": "manifest.parquet",
    "candidate_texts": "texts",
    "word_texts": "texts",
    "evaluation_true_masks": "true_masks",
}


def sections() -> dict[str, str]:
    """Return the text below each heading of the third level, and below the heading of all artifacts."""
    parts = re.split(r"^#{2,3} (.+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def columns_of(text: str) -> dict[str, str]:
    """Return the columns and types in the tables of a text; a line may name several columns."""
    lines = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([\w ]+) \|", text, flags=re.MULTILINE)
    return {name: kind for names, kind in lines for name in re.findall(r"`(\w+)`", names)}


def stated(schema: pa.Schema) -> dict[str, str]:
    """Return the columns of a schema with their types in the words of the page."""
    return {each.name: re.sub(r"list<\w+: (\w+)>", r"list of \1", str(each.type)) for each in schema}


@pytest.mark.parametrize("stage", STAGES)
def test_columns_of_artifacts(stage: str):
    shared = next(text for title, text in sections().items() if title.startswith("Artifacts"))
    base = columns_of(shared) if issubclass(STAGES[stage].row, PhotoRow) else {}
    own = columns_of(sections()[SAME_COLUMNS.get(stage, stage)])
    assert {**base, **own} == stated(schema_of(STAGES[stage].row))


@pytest.mark.parametrize("file", [file for file in TABLE_SCHEMAS if file != "prompt_scores.parquet"])
def test_columns_of_the_tables_of_a_run(file: str):
    listed = columns_of(sections()[SAME_COLUMNS.get(file, file)])
    schema = stated(TABLE_SCHEMAS[file])
    extra = stated(TABLE_SCHEMAS["prompt_scores.parquet"]) if file == "prompts.parquet" else {}
    assert listed == {**schema, **extra}


def test_kinds_of_errors():
    lines = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", sections()["Kinds of errors"], flags=re.MULTILINE)
    listed = {name for names in lines for name in re.findall(r"`(\w+)`", names)}
    assert listed == {kind.value for kind in ErrorKind}
