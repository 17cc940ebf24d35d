"""The shape of the JSON files and tables in a run's folder, with which clipes checks these files when it reads them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

import pyarrow as pa
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from clipes.tasks.storage.layout import (
    BACKGROUND_TABLE,
    EVALUATION_FILE,
    MANIFEST_FILE,
    METRICS_FILE,
    RANKING_SCORES_TABLE,
    RANKING_TABLE,
    REJECTS_FILE,
    STATUS_FILE,
    SYNONYMS_TABLE,
)
from clipes_core.errors import BrokenArtifactError
from clipes_core.vocabulary import Vocabulary


def _iso_time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("the time has no time zone")
    return text


def _vocabulary(value: dict[str, Any]) -> dict[str, Any]:
    Vocabulary.model_validate(value)
    return value


Time = Annotated[str, AfterValidator(_iso_time)]  # ISO 8601
HistoryFolder = Annotated[str, Field(pattern=r"^history/\d[^/]*$")]  # a completed run removes this folder
STRICT = ConfigDict(strict=True, extra="allow")


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
SEALED_FILES = (*TABLE_SCHEMAS, METRICS_FILE)  # run.json states the seals of these files at the end of the run


class VersionsJson(TypedDict):
    """The versions of clipes and of the packages that it uses."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    clipes: str


class OfAblationJson(TypedDict):
    """The entry of the run.json of an ablation, which itself makes no artifacts: its grid, and its runs."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    grid: str
    runs: list[str]


class RunJson(TypedDict):
    """The entries of run.json that clipes reads. Entries that earlier versions did not write are not required."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    name: str
    state: Literal["running", "completed", "failed", "cancelled"]
    started: Time
    finished: Time | None
    error: str | None
    until: str
    host: str
    pid: int
    pid_started: float | None
    model_digest: str
    precision: str
    template: NotRequired[str | list[str] | None]
    candidates: NotRequired[list[Any]]
    words: NotRequired[list[Any]]
    stage_keys: dict[str, str]
    photos: int
    shards: NotRequired[int]
    rejected: int
    evaluation_rejected: NotRequired[int]
    validation: NotRequired[str | None]
    notes: NotRequired[list[str]]
    versions: VersionsJson
    config: dict[str, Any]
    vocabulary: NotRequired[Annotated[dict[str, Any], AfterValidator(_vocabulary)]]
    claim: NotRequired[int]
    previous: NotRequired[HistoryFolder | None]
    seals: NotRequired[dict[str, str]]
    ablation: NotRequired[OfAblationJson]


class ScoresJson(TypedDict):
    """The scores of one kind of prediction."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    fwiou: float
    class_iou: dict[str, float | None]
    background_power: float | None
    images: int


class ReadsJson(TypedDict):
    """The statistics of the files that a training read."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    local: int
    hit: int
    fetched: int
    fetched_mb: float
    read_seconds: float
    unusable_photos: list[str]


class TrainingJson(TypedDict):
    """The statistics of a training."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    iterations: int
    resumed_at: int
    iterations_per_second: float | None
    waited_seconds: float
    validation_seconds: NotRequired[float]
    first_validation_seconds: NotRequired[float]
    checkpoint_seconds: NotRequired[float]
    photos: int
    photos_without_mask: int
    parameters: int
    precision: str
    processes: int
    device: str
    peak_memory_mib: int
    peak_gpu_memory_mib: int | None
    kept_fraction: float
    best_miou: float | None
    best_iteration: int | None
    validation: NotRequired[str | None]
    reads: ReadsJson


class StageJson(TypedDict):
    """The counts of a stage."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    images: int
    shards: int
    cached_shards: int
    computed_shards: int
    failed_shards: int
    copied_rows: int
    computed_rows: NotRequired[int]
    wall_seconds: float
    busy_seconds: float
    peak_memory_mib: NotRequired[int]
    seconds_per_row: NotRequired[float | None]
    cpu_seconds_per_row: NotRequired[float | None]
    peak_gpu_memory_mib: NotRequired[int | None]


class RankingJson(TypedDict):
    """The facts about a ranking of templates."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    template: str
    sharpness: float
    templates: int


class MetricsJson(TypedDict, total=False):
    """The entries of metrics.json that clipes reads."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    centre_box: ScoresJson
    initial_cam: ScoresJson
    refined_cam: ScoresJson
    pseudo_mask: ScoresJson
    segmenter: ScoresJson
    warnings: list[str]
    prompts: RankingJson
    training: TrainingJson
    stages: dict[str, StageJson]
    run: str


class EstimateJson(TypedDict):
    """The content of estimate.json: what the measurement was made with, and the measured costs."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    made_with: dict[str, Any]
    measurement: dict[str, Any]


class VariantRunJson(TypedDict):
    """A run of an ablation."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    seed: dict[str, Any]
    name: str
    uri: str
    report: str | None
    metrics: dict[str, Any]
    failed: str | None
    missing: NotRequired[dict[str, str]]


class VariantJson(TypedDict):
    """A variant: its label, its labels by axis, and its settings."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    label: str
    labels: dict[str, str]
    settings: dict[str, Any]


class VariantResultJson(TypedDict):
    """A variant of an ablation and its runs."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    variant: VariantJson
    runs: list[VariantRunJson]


class AblationJson(TypedDict):
    """The content of ablation.json: the grid, and the results of its runs."""

    __pydantic_config__ = STRICT  # type: ignore[misc]
    grid: dict[str, Any]
    name: str
    uri: str
    data: str
    variants: list[VariantResultJson]


RUN_SHAPE: TypeAdapter[Any] = TypeAdapter(RunJson)
METRICS_SHAPE: TypeAdapter[Any] = TypeAdapter(MetricsJson)
ABLATION_SHAPE: TypeAdapter[Any] = TypeAdapter(AblationJson)
ESTIMATE_SHAPE: TypeAdapter[Any] = TypeAdapter(EstimateJson)


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


def check_shape(uri: str, value: Any, shape: TypeAdapter[Any]) -> None:
    """Check that the content of a JSON file has the expected entries.

    Args:
        uri: URI of the file, for the error message.
        value: content of the file.
        shape: RUN_SHAPE or METRICS_SHAPE.

    Raises:
        BrokenArtifactError: an entry is missing or has an unexpected value.
    """
    try:
        shape.validate_python(value)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the content"
        raise BrokenArtifactError(uri, f"is not the file that clipes wrote ({where}: {first['msg']})") from exc
