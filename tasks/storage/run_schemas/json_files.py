"""The entries of the JSON files in the folder of a run."""

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

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


def check_shape(uri: str, value: Any, shape: TypeAdapter[Any]) -> None:
    """Check that the content of a JSON file has the expected entries.

    Args:
        uri: URI of the file, for the error message.
        value: content of the file.
        shape: the shape of the file, such as RUN_SHAPE.

    Raises:
        BrokenArtifactError: an entry is missing or has an unexpected value.
    """
    try:
        shape.validate_python(value)
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the content"
        raise BrokenArtifactError(uri, f"is not the file that clipes wrote ({where}: {first['msg']})") from exc
