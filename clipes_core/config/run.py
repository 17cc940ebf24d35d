"""The configuration of a run: one frozen pydantic model with a section for each part of the pipeline."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.execution import ExecutionConfig
from clipes_core.config.pseudo_masks import CamConfig, ClipConfig, ConfidenceConfig, CrfConfig, PromptsConfig
from clipes_core.config.section import Section
from clipes_core.config.segmenter import EvaluationConfig, TrainConfig
from clipes_core.config.suggestions import similar_key
from clipes_core.config.uri import refusal, without_secrets
from clipes_core.errors import ConfigError

# A run's name is the name of a folder: it has no slash, does not start with a dot, and, for Windows, ends with no dot.
RUN_NAME = r"^[A-Za-z0-9{]([A-Za-z0-9._{}-]*[A-Za-z0-9_{}-])?$"
NAME_LENGTH = 200  # of the name of a run, at most

PLAIN_KEY = r"[\w.-]+"  # other unknown keys are shown in quotes
MESSAGES = {"model_type": "must be a section of keys and values"}  # pydantic's type of error -> message


class CheckConfig(Section):
    """The limits beyond which clipes lists a photo as a photo to check. No setting of this section changes a result."""

    max_foreground: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Largest share of the pixels of a mask that may be foreground. 1: do not check.",
    )
    min_foreground: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Smallest share of the pixels that must be foreground if the photo has labels. 0: do not check.",
    )
    max_crf_change: float = Field(
        0.2, ge=0, le=1, description="Largest share of the pixels whose class the CRF may change. 1: do not check."
    )
    min_agreement: float = Field(
        0.4,
        ge=0,
        le=1,
        description="Smallest mIoU between a mask and the prediction of the segmenter, if train.compare_masks is true. "
        "0: do not check.",
    )


class ReportConfig(Section):
    """The content of report.html. No setting of this section changes a result."""

    further: int = Field(
        96,
        ge=0,
        le=10_000,
        description="Largest number of further photos to check in files that report.html loads when the reader asks "
        "for them. 0: no such files.",
    )
    gallery: int = Field(
        24,
        ge=0,
        le=500,
        description="Number of photos in the gallery. The gallery shows the best results, the worst results and random "
        "results. 0: no gallery.",
    )
    check: CheckConfig = Field(
        default_factory=CheckConfig, description="The limits beyond which a photo is listed as a photo to check."
    )


class RunConfig(Section):
    """All settings of a run."""

    name: str = Field(
        ...,
        max_length=NAME_LENGTH,
        json_schema_extra={"pattern": RUN_NAME},
        description="Name of the run, and of its folder in the store: letters, digits, dots, underscores and hyphens. "
        "clipes replaces {date} and {time} with the date and time of the run's start.",
    )
    store: str = Field(
        "./clipes-store", description="Folder in which clipes stores artifacts and runs: a path or any fsspec URI."
    )
    dataset: DatasetConfig = Field(default_factory=DatasetConfig)
    clip: ClipConfig = Field(default_factory=ClipConfig)
    prompts: PromptsConfig = Field(default_factory=PromptsConfig)
    cam: CamConfig = Field(default_factory=CamConfig)
    crf: CrfConfig = Field(default_factory=CrfConfig)
    confidence: ConfidenceConfig = Field(default_factory=ConfidenceConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig)
    execution: ExecutionConfig = Field(default_factory=ExecutionConfig)
    report: ReportConfig = Field(default_factory=ReportConfig)

    @field_validator("name")
    @classmethod
    def _is_the_name_of_a_folder(cls, name: str) -> str:
        if not re.fullmatch(RUN_NAME, name):
            raise ValueError(
                "must consist of letters, digits, '.', '_', '-', {date} and {time}, must start with a letter or digit, "
                "and must not end with '.'"
            )
        return name

    @model_validator(mode="after")
    def _refuse_secrets(self) -> Self:
        for key, text in config_texts(self.model_dump()):
            if message := refusal(text):
                raise ValueError(f"{key}: {message}")
        return self


def config_texts(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the value of each text in a config, which may be nested and unchecked."""
    return ((key, item) for key, item in config_values(value) if isinstance(item, str))


def config_values(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of each value in a config that is neither a mapping nor a list."""
    if not isinstance(value, Mapping | list | tuple):
        yield key, value
        return
    for name, item in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from config_values(item, f"{key}.{name}" if key else str(name))


def parse_config(values: dict[str, Any]) -> RunConfig:
    """Check plain values and return them as a configuration.

    Args:
        values: nested dict of plain values, as read from a YAML file.

    Returns:
        The frozen configuration. Missing keys get their defaults.

    Raises:
        ConfigError: a key is unknown or a value is invalid. The message has one line per error: the key, what is wrong,
            and the value.
    """
    return check_section(RunConfig, values)


Checked = TypeVar("Checked", bound=Section)


def check_section(section: type[Checked], values: Mapping[str, Any], key: str = "") -> Checked:
    """Check plain values and return them as a section.

    Args:
        section: class of the section.
        values: nested mapping of plain values.
        key: dotted key of the section, for messages; empty for the whole configuration.

    Returns:
        The frozen section. Missing keys get their defaults.

    Raises:
        ConfigError: a key is unknown or a value is invalid. The message has one line per error: the key, what is wrong,
            and the value.
    """
    try:
        return section.model_validate(values)
    except ValidationError as exc:
        prefix = f"{key}." if key else ""
        lines = {without_secrets(prefix + _line(section, error)) for error in exc.errors()}
        raise ConfigError("\n".join(sorted(lines))) from exc


def _line(section: type[Section], error: Any) -> str:
    message = MESSAGES.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        unknown = ".".join(map(str, error["loc"]))
        similar = similar_key(section, [str(part) for part in error["loc"]])
        hint = f"; did you mean {similar}?" if similar else ""
        return f"{unknown if re.fullmatch(PLAIN_KEY, unknown) else repr(unknown)}: unknown key{hint}"
    key = ".".join(str(part) for part in error["loc"] if not _is_union_branch(str(part)))
    if error["type"] == "missing":
        return f"{key}: must be set"
    return f"{key}: {message} (got {error['input']!r})" if key else message


def _is_union_branch(part: str) -> bool:
    return part in ("bool", "int", "str") or part.startswith(("constrained-", "literal[", "tuple["))
