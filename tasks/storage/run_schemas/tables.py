"""The columns of the tables in the folder of a run."""

from collections.abc import Sequence

import pyarrow as pa

from clipes.tasks.storage.layout import (
    BACKGROUND_TABLE,
    EVALUATION_FILE,
    MANIFEST_FILE,
    RANKING_SCORES_TABLE,
    RANKING_TABLE,
    REJECTS_FILE,
    STATUS_FILE,
    SYNONYMS_TABLE,
)
from clipes_core.errors import BrokenArtifactError

STATUS_SCHEMA = pa.schema(
    [
        ("stage", pa.string()),
        ("shard", pa.int32()),
        ("state", pa.string()),
        ("images", pa.int64()),
        ("errors", pa.int64()),
        ("seconds", pa.float64()),
        ("attempt", pa.int32()),
        ("artifact", pa.string()),
        ("worker", pa.string()),
        ("reason", pa.string()),
    ]
)
MANIFEST_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("uri", pa.string()),
        ("size_bytes", pa.int64()),
        ("fingerprint", pa.string()),
        ("class_ids", pa.list_(pa.int16())),
        ("shard", pa.int32()),
        ("truth_uri", pa.string()),
        ("truth_fingerprint", pa.string()),
    ]
)
REJECTS_SCHEMA = pa.schema([(name, pa.string()) for name in ("image_id", "uri", "stage", "kind", "reason")])
RANKING_SCHEMA = pa.schema([("rank", pa.int32()), ("template", pa.string()), ("sharpness", pa.float64())])
RANKING_SCORES_SCHEMA = pa.schema(
    [
        *RANKING_SCHEMA,
        ("initial_miou", pa.float64()),
        ("initial_power", pa.float64()),
        ("refined_miou", pa.float64()),
        ("refined_power", pa.float64()),
    ]
)
SYNONYMS_SCHEMA = pa.schema(
    [
        ("class", pa.string()),
        ("rank", pa.int32()),
        ("word", pa.string()),
        ("source", pa.string()),
        ("sense", pa.string()),
        ("margin", pa.float64()),
        ("share_with", pa.float64()),
        ("share_without", pa.float64()),
        ("auc", pa.float64()),
        ("sharpness", pa.float64()),
        ("photos_with", pa.int64()),
        ("photos_without", pa.int64()),
        ("photos_several", pa.int64()),
    ]
)
BACKGROUND_SCHEMA = pa.schema(
    [
        ("class", pa.string()),
        ("word", pa.string()),
        ("known", pa.bool_()),
        ("share", pa.float64()),
        ("even", pa.float64()),
        ("share_elsewhere", pa.float64()),
        ("fires", pa.float64()),
        ("beats", pa.float64()),
        ("photos", pa.int64()),
        ("examples", pa.list_(pa.string())),
    ]
)
TABLE_SCHEMAS = {
    MANIFEST_FILE: MANIFEST_SCHEMA,
    EVALUATION_FILE: MANIFEST_SCHEMA,
    STATUS_FILE: STATUS_SCHEMA,
    REJECTS_FILE: REJECTS_SCHEMA,
    RANKING_TABLE: RANKING_SCHEMA,
    RANKING_SCORES_TABLE: RANKING_SCORES_SCHEMA,
    SYNONYMS_TABLE: SYNONYMS_SCHEMA,
    BACKGROUND_TABLE: BACKGROUND_SCHEMA,
}
ADDED_COLUMNS = {STATUS_FILE: ("worker", "reason")}  # columns that the files of earlier versions lack


def check_columns(uri: str, file: str, schema: pa.Schema, columns: Sequence[str] | None) -> None:
    """Check that the columns of a table have the expected types. Those of ADDED_COLUMNS may be absent.

    Args:
        uri: URI of the file, for the error message.
        file: name of the file.
        schema: schema of the file.
        columns: names of the columns to check; None for all.

    Raises:
        BrokenArtifactError: a column is missing or has another type.
    """
    for field in TABLE_SCHEMAS.get(file, ()):
        if columns is not None and field.name not in columns:
            continue
        if field.name not in schema.names and field.name in ADDED_COLUMNS.get(file, ()):
            continue
        if field.name not in schema.names or schema.field(field.name).type != field.type:
            raise BrokenArtifactError(uri, f"has no column {field.name} of type {field.type}")
