"""The configuration of a run: frozen models whose defaults are the paper's VOC values.

Section, equation and table numbers are those of CLIP-ES (CVPR 2023, arXiv 2212.09506).
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from clipes_core.config.choice import NameIn
from clipes_core.config.crf import DenseCrfConfig
from clipes_core.config.section import Section
from clipes_core.config.segmenter import EvaluationConfig, TrainConfig
from clipes_core.errors import ConfigError
from clipes_core.refinements import REFINEMENTS

CREDENTIALS = re.compile(
    r"://[^/@:]*:(?!\d+/)[^@]*@"  # user:password@, even if the password contains a slash, but not host:port/a@b
    r"|^https?://[^/@]+@"
    r"|[?&](?:x-(?:amz|goog)-(?:signature|credential|security-token)|signature|sig|token|access_token|api_?key)=",
    re.IGNORECASE,
)
NO_CREDENTIALS = "remove them from it, and configure them as the fsspec package for its protocol expects"
AUTO_TEMPLATE = "auto"  # with this value of prompts.template, clipes uses the best candidate


class DatasetConfig(Section):
    """The photos, their labels, and how photos are read."""

    format: str = Field(
        "voc", description="Layout of the data set, such as voc, coco or list. scenes: clipes generates the photos."
    )
    root: str | None = Field(
        None,
        description="Folder of the data set: a path or any fsspec URI. Formats voc and coco need it. With format "
        "scenes, clipes writes the generated photos to this folder; null means a folder in the store. With format "
        "list, null means the folder of the list file.",
    )
    split: str = Field(
        "train_aug",
        description="The photos to use: the name of a split (voc, coco), or the path or URI of a list file (.txt for "
        "voc; .txt, .csv or .parquet for list; .txt or .json for coco). The format scenes does not read this key.",
    )
    classes: str = Field("voc12", description="Vocabulary: a name under configs/classes, or the path of a YAML file.")
    truth: str | None = Field(
        None,
        description="Folder of true masks: PNGs of class ids, named like the photos. With the formats voc and scenes, "
        "null means the data set's folder SegmentationClass.",
    )
    exif: Literal["ignore", "apply"] = Field(
        "ignore",
        description="apply: clipes rotates photos as their EXIF tags say; ignore: it does not. Use ignore for VOC and "
        "COCO, because their true masks are not rotated.",
    )
    empty: Literal["background", "reject"] = Field(
        "background",
        description="Photos without labels. background: their masks are all background; reject: they are rejected.",
    )
    max_side: int = Field(
        1024, ge=32, description="Longest side of a photo [px]; for CAMs and CRF, larger photos are reduced to it."
    )
    seed: int = Field(0, ge=0, description="Seed of the generated scenes; another seed gives other scenes.")
    count: int = Field(200, ge=1, le=100_000, description="Number of generated scenes.")


class ClipConfig(Section):
    """The frozen CLIP from which the CAMs are computed."""

    model: str = Field(
        "ViT-B-16-quickgelu", description="Name of a ViT in OpenCLIP. The paper uses ViT-B/16 (sec. 4.1)."
    )
    pretrained: str = Field(
        "openai",
        description="Weights: an OpenCLIP tag, a name under configs/models, a path, a URI, or random:SEED for random "
        "weights, for example to test a run without a download.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Precision of the image network; auto: fp16 on a CUDA GPU, otherwise fp32."
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="Device on which networks run: cpu, mps, cuda (all CUDA GPUs) or cuda:N. auto: all CUDA GPUs or, "
        "if there are none, mps or the CPU.",
    )
    pooling: Literal["patch_mean", "cls"] = Field(
        "patch_mean", description="Image embedding. patch_mean: the mean of the patch tokens; cls: the class token."
    )


class PromptsConfig(Section):
    """The sentences in which CLIP reads the class words (sec. 3.2)."""

    template: str | tuple[str, ...] = Field(
        "a clean origami {}.",
        description="One or more templates, in which {} stands for the class words. auto: clipes ranks the shipped "
        "candidate templates by sharpness (sec. 3.2), and uses the best one.",
    )
    fusion: Literal["sentence", "feature", "cam"] = Field(
        "sentence",
        description="How the synonyms of a class are fused (sec. 3.2). sentence: one sentence has all of them; "
        "feature: their text features are averaged; cam: their CAMs are averaged.",
    )
    background: bool = Field(True, description="If true, background words compete in the softmax (sec. 3.1).")

    @field_validator("template")
    @classmethod
    def _has_one_place_for_the_class(cls, template: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if template == AUTO_TEMPLATE:
            return template
        templates = (template,) if isinstance(template, str) else template
        if not templates:
            raise ValueError("needs at least one template")
        for text in templates:
            if text.count("{}") != 1:
                raise ValueError(f"{text!r} must contain {{}} exactly once, where the class words go")
        return template

    @property
    def templates(self) -> tuple[str, ...]:
        """Return the templates as a tuple, even if there is only one. If `template` is `auto`, the tuple is empty."""
        if self.template == AUTO_TEMPLATE:
            return ()
        return (self.template,) if isinstance(self.template, str) else self.template


class CamConfig(Section):
    """Softmax-GradCAM (eq. 1-4) and class-aware attention-based affinity (eq. 6-7)."""

    softmax: bool = Field(
        True, description="If true, class scores are the softmax probabilities (eq. 3); if false, they are the logits."
    )
    refine: Annotated[str, NameIn(REFINEMENTS)] = Field(
        "caa", description="Refinement of the CAMs. none: no refinement; mhsa: plain attention; caa: CAA (eq. 7)."
    )
    box_threshold: float = Field(
        0.4, ge=0, lt=1, description="lambda: CAA draws boxes above this share of a CAM's peak; COCO: 0.7 (sec. 4.1)."
    )
    attention_blocks: int = Field(
        8, ge=1, description="Number of last blocks of the image network whose attention is averaged."
    )
    sinkhorn_rounds: int = Field(3, ge=0, description="Number of rounds of Sinkhorn normalisation (eq. 6).")
    power: int = Field(2, ge=0, le=16, description="t: number of times that the affinity is applied (eq. 7).")
    scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        (1.0,),
        min_length=1,
        description="Scales of the photo; the CAMs of all scales are averaged. The published program uses only 1.",
    )
    flip: bool = Field(False, description="If true, the average includes the CAMs of the mirrored photo.")


class CrfConfig(DenseCrfConfig):
    """Dense CRF of the pseudo masks (sec. 3.4)."""

    enabled: bool = Field(
        True, description="If true, a CRF refines the mask; if false, it is the argmax of background score and CAMs."
    )
    image: Literal["rgb", "reference"] = Field(
        "rgb",
        description="Image that the CRF reads. rgb: the photo; reference: as in the published program, the photo in "
        "BGR minus the mean colour, wrapped to 8 bits.",
    )
    background_power: float = Field(1, gt=0, le=64, description="p: the background score is (1 - max CAM)^p.")


class ConfidenceConfig(Section):
    """The confidence map (eq. 8)."""

    source: Literal["crf", "cam"] = Field(
        "crf",
        description="Source of a pixel's confidence. crf: its largest CRF posterior or, without a CRF, its largest "
        "score; cam: its CAMs, by eq. (8).",
    )


class RunnerConfig(Section):
    """The runner, which computes the shards. All keys other than `kind` are settings of the chosen runner."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(
        "local",
        description="Name of the runner. local: worker processes on this machine compute the shards; inline: the "
        "process that runs the flow computes them, for debugging.",
    )


class ExecutionConfig(Section):
    """How the work is divided, and which processes do it. No setting of this section changes a result."""

    shards: int = Field(
        32,
        ge=1,
        le=100_000,
        description="Number of shards (parts) into which each stage is divided. With a different number, photos move "
        "to other shards, and clipes computes their rows again. The results do not change.",
    )
    runner: RunnerConfig = Field(
        default_factory=RunnerConfig, description="The runner, which computes the shards, and its settings."
    )
    gpu_workers: int | Literal["auto"] = Field(
        "auto",
        description="Number of worker processes for stages that run networks; auto: one per device. The training of "
        "the segmenter uses at most one process per GPU.",
    )
    cpu_workers: int | Literal["auto"] = Field(
        "auto",
        description="Number of worker processes for stages that run no network, such as masks; auto: one per core.",
    )
    max_failure_rate: float = Field(
        0.01, ge=0, le=1, description="Largest permitted share of photos that fail permanently in a stage."
    )
    retries: int = Field(
        2,
        ge=0,
        le=50,
        description="Largest number of retries of a shard that fails for a transient cause. Prefect allows at most 50.",
    )
    shard_timeout_s: float = Field(
        3600,
        gt=0,
        description="Time limit [s]. A shard that takes longer is stopped. A training is stopped if it makes no "
        "progress for this time.",
    )
    loader_workers: int | Literal["auto"] = Field(
        "auto",
        description="Number of processes per device that load training photos; auto: the number of cores per device, "
        "but at most 8.",
    )
    cache_gb: float = Field(20, gt=0, description="Size of the local cache for training files from remote stores [GB].")

    @field_validator("gpu_workers", "cpu_workers")
    @classmethod
    def _at_least_one(cls, workers: int | str) -> int | str:
        if isinstance(workers, int) and workers < 1:
            raise ValueError("must be auto or at least 1")
        return workers

    @field_validator("loader_workers")
    @classmethod
    def _not_negative(cls, workers: int | str) -> int | str:
        if isinstance(workers, int) and workers < 0:
            raise ValueError("must be auto or at least 0; 0 loads photos in the training process itself")
        return workers


class ReportConfig(Section):
    """The content of report.html. No setting of this section changes a result."""

    gallery: int = Field(
        24,
        ge=0,
        le=500,
        description="Number of photos in the gallery: the best, the worst and random ones; 0: no gallery.",
    )


class RunConfig(Section):
    """All settings of a run."""

    name: str = Field(
        ...,
        pattern=r"^[A-Za-z0-9{][A-Za-z0-9._{}-]*$",
        description="Name of the run. {date} and {time} in it stand for the start of the run.",
    )
    store: str = Field("./clipes-store", description="Folder of artifacts and runs: a path or any fsspec URI.")
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

    @model_validator(mode="after")
    def _refuse_credentials(self) -> Self:
        dataset = self.dataset
        uris = {"store": self.store, "clip.pretrained": self.clip.pretrained, "dataset.root": dataset.root}
        uris |= {"dataset.split": dataset.split, "dataset.truth": dataset.truth, "dataset.classes": dataset.classes}
        uris |= {"train.mmseg_config": self.train.mmseg_config, "train.init": self.train.init}
        uris |= {f"evaluation.{key}": getattr(self.evaluation, key) for key in ("root", "split", "truth")}
        for key, uri in uris.items():
            if holds_credentials(uri or ""):  # the message must not repeat the credentials
                raise ValueError(f"{key}: the URI contains credentials, which run.json would record: {NO_CREDENTIALS}")
        return self


def holds_credentials(uri: str) -> bool:
    """Return True if a URI contains a password, token or signature. A bucket or account name is not a credential."""
    return CREDENTIALS.search(uri) is not None


def parse_config(values: dict[str, Any]) -> RunConfig:
    """Check plain values and return them as a configuration.

    Args:
        values: nested dict of plain values, as read from a YAML file.

    Returns:
        The frozen configuration. Missing keys get their defaults, which are the paper's values.

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
        raise ConfigError("\n".join(sorted({prefix + _line(error) for error in exc.errors()}))) from exc


def _line(error: Any) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"{'.'.join(map(str, error['loc']))}: unknown key"
    key = ".".join(str(part) for part in error["loc"] if not _is_union_branch(str(part)))
    if error["type"] == "missing":
        return f"{key}: must be set"
    return f"{key}: {message} (got {error['input']!r})" if key else message


def _is_union_branch(part: str) -> bool:
    return part in ("int", "str", "constrained-float") or part.startswith(("literal[", "tuple["))
