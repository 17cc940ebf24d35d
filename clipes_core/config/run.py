"""The configuration of a run, as frozen pydantic models. The defaults follow CLIP-ES on PASCAL VOC.

Section, equation and table numbers are those of the CLIP-ES paper (CVPR 2023, arXiv 2212.09506).
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
NO_CREDENTIALS = "remove them from the URI, and configure them as the fsspec package for the URI's protocol expects"
AUTO_TEMPLATE = "auto"  # if prompts.template has this value, clipes ranks the candidate templates and uses the best one


class DatasetConfig(Section):
    """The photos, their labels, and how clipes reads the photos."""

    format: str = Field(
        "voc",
        description="Format of the data set: voc, coco, list (a file that lists photos and their labels) or scenes "
        "(photos that clipes generates).",
    )
    root: str | None = Field(
        None,
        description="Folder of the data set: a path or any fsspec URI. The formats voc and coco need it. The format "
        "scenes writes the generated photos to this folder. The format list resolves relative paths against this "
        "folder. If null, scenes uses a folder in the store, and list uses the folder of the list file.",
    )
    split: str = Field(
        "train_aug",
        description="The photos to use. Format voc: the name of a split, or a .txt list of photos. Format coco: the "
        "name of a split, a .txt list or a .json annotation file. Format list: a .txt, .csv or .parquet list. For a "
        "file, give its path or URI. The format scenes ignores this key.",
    )
    classes: str = Field(
        "voc12",
        description="Vocabulary, which defines the classes and their words: voc12, coco14, scenes, or the path or URI "
        "of a YAML file.",
    )
    truth: str | None = Field(
        None,
        description="Folder of the true masks: PNG files whose pixels are class ids, and whose names are those of the "
        "photos. With the formats voc and scenes, null means the folder SegmentationClass of the data set.",
    )
    exif: Literal["ignore", "apply"] = Field(
        "ignore",
        description="EXIF orientation of photos. apply: clipes turns each photo as its EXIF tag says; ignore: it does "
        "not turn photos. Use ignore for VOC and COCO, because their true masks belong to the unturned photos.",
    )
    empty: Literal["background", "reject"] = Field(
        "background",
        description="How clipes treats photos without labels. background: their masks are entirely background; "
        "reject: they get no masks, and count as failed.",
    )
    max_side: int = Field(
        1024,
        ge=32,
        description="Largest permitted side of a photo [px]. clipes scales larger photos down to this size before it "
        "computes CAMs and CRF.",
    )
    seed: int = Field(0, ge=0, description="Seed of the generated scenes; a different seed gives different scenes.")
    count: int = Field(200, ge=1, le=100_000, description="Number of generated scenes.")


class ClipConfig(Section):
    """The frozen CLIP network with which clipes computes CAMs."""

    model: str = Field(
        "ViT-B-16-quickgelu",
        description="clipes-demo, or the name of an OpenCLIP model with a ViT. CLIP-ES uses ViT-B/16 (sec. 4.1).",
    )
    pretrained: str = Field(
        "openai",
        description="Weights of the model: clipes-demo, an OpenCLIP tag, the path or URI of a file, or random:SEED. "
        "random:SEED gives random weights, for example to test a run without a download.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Numerical precision of CLIP's image network. auto: fp16 on a CUDA GPU, otherwise fp32."
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
        description="Devices that run networks: cpu, mps, cuda (all CUDA GPUs) or cuda:N (one GPU). auto: all CUDA "
        "GPUs; without a CUDA GPU, mps if it is available, otherwise cpu.",
    )
    pooling: Literal["patch_mean", "cls"] = Field(
        "patch_mean",
        description="Image embedding that clipes compares with texts. patch_mean: mean of the patch tokens; cls: class "
        "token.",
    )


class PromptsConfig(Section):
    """The prompts, which are the texts that describe the classes to CLIP (CLIP-ES sec. 3.2)."""

    template: str | tuple[str, ...] = Field(
        "a clean origami {}.",
        description="One or more prompt templates. In a template, {} stands for the words of a class. auto: clipes "
        "ranks its candidate templates by sharpness (CLIP-ES sec. 3.2) and uses the best one.",
    )
    fusion: Literal["sentence", "feature", "cam"] = Field(
        "sentence",
        description="How clipes combines the synonyms of a class (CLIP-ES sec. 3.2). sentence: one prompt contains "
        "all synonyms; feature: clipes averages the text features of the synonyms; cam: clipes averages the CAMs of "
        "the synonyms.",
    )
    background: bool = Field(
        True,
        description="If true, the vocabulary's background words compete with the classes in the softmax (CLIP-ES sec. "
        "3.1).",
    )

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
        """Return the templates as a tuple, which is empty if `template` is `auto`."""
        if self.template == AUTO_TEMPLATE:
            return ()
        return (self.template,) if isinstance(self.template, str) else self.template


class CamConfig(Section):
    """Softmax-GradCAM (CLIP-ES eq. 1-4), and class-aware attention-based affinity (CAA, eq. 6-7)."""

    softmax: bool = Field(
        True,
        description="If true, clipes computes CAMs from the softmax probabilities of the classes (CLIP-ES eq. 3). If "
        "false, it computes them from the logits.",
    )
    refine: Annotated[str, NameIn(REFINEMENTS)] = Field(
        "caa",
        description="How clipes refines the CAMs. none: not at all; mhsa: along the attention from all patches; caa: "
        "along the attention from the patches in boxes around high CAM values (CLIP-ES eq. 7).",
    )
    box_threshold: float = Field(
        0.4,
        ge=0,
        lt=1,
        description="Threshold lambda. The refinement caa draws boxes around the parts of a CAM that exceed this share "
        "of the CAM's peak. CLIP-ES uses 0.4 for VOC and 0.7 for COCO (sec. 4.1).",
    )
    attention_blocks: int = Field(
        8,
        ge=1,
        description="Number of transformer blocks of the image network whose attention is averaged, counted from the "
        "last block.",
    )
    sinkhorn_rounds: int = Field(3, ge=0, description="Number of rounds of Sinkhorn normalisation (CLIP-ES eq. 6).")
    power: int = Field(
        2, ge=0, le=16, description="Exponent t of the affinity matrix that refines the CAMs (CLIP-ES eq. 7)."
    )
    scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        (1.0,),
        min_length=1,
        description="Factors by which the photo is scaled. clipes averages the CAMs of all factors. The published "
        "program of CLIP-ES uses only the factor 1.",
    )
    flip: bool = Field(
        False, description="If true, the average over the scales also includes the CAMs of the mirrored photo."
    )


class CrfConfig(DenseCrfConfig):
    """The dense CRF that refines the pseudo masks (CLIP-ES sec. 3.4)."""

    enabled: bool = Field(
        True,
        description="If true, a CRF refines the pseudo masks. If false, the label of each pixel is the argmax of the "
        "background score and the CAMs.",
    )
    image: Literal["rgb", "reference"] = Field(
        "rgb",
        description="Image that the CRF reads. rgb: the photo; reference: the input of the published program of "
        "CLIP-ES, which is the photo in BGR minus the mean colour, wrapped to 8 bits.",
    )
    background_power: float = Field(
        1,
        gt=0,
        le=64,
        description="Exponent p of a pixel's background score (1 - m)^p, where m is the pixel's largest CAM value.",
    )


class ConfidenceConfig(Section):
    """The confidence map of a pseudo mask (CLIP-ES eq. 8)."""

    source: Literal["crf", "cam"] = Field(
        "crf",
        description="What the confidence of a pixel is computed from. crf: the pixel's largest CRF posterior or, "
        "without a CRF, the pixel's largest score; cam: the pixel's CAM values, by CLIP-ES eq. (8).",
    )


class RunnerConfig(Section):
    """The runner, which computes the shards of a run. All keys other than `kind` are settings of the chosen runner."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(
        "local",
        description="Name of the runner. local: worker processes on this machine compute the shards; inline (for "
        "debugging): the process that runs the flow computes the shards itself.",
    )


class ExecutionConfig(Section):
    """How clipes divides the work, and which processes do it. No setting of this section changes a result."""

    shards: int = Field(
        32,
        ge=1,
        le=100_000,
        description="Number of shards (parts) into which clipes divides the photos. If you change this number, photos "
        "move to other shards, and clipes processes these photos again. The results do not change.",
    )
    runner: RunnerConfig = Field(
        default_factory=RunnerConfig, description="The runner, which computes the shards, and the runner's settings."
    )
    gpu_workers: int | Literal["auto"] = Field(
        "auto",
        description="Number of worker processes for stages that run networks. auto: one process per device. The "
        "training of the segmenter uses at most one process per GPU.",
    )
    cpu_workers: int | Literal["auto"] = Field(
        "auto",
        description="Number of worker processes for stages that run no network, such as the stage masks. auto: one "
        "process per processor core.",
    )
    max_failure_rate: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Largest permitted share of photos that fail in a stage for a permanent cause. If more photos "
        "fail, the run fails.",
    )
    retries: int = Field(
        2,
        ge=0,
        le=50,
        description="Maximum number of retries of a shard that fails for a transient cause. Prefect allows at most 50.",
    )
    shard_timeout_s: float = Field(
        3600,
        gt=0,
        description="Time limit of a shard [s]. clipes stops a shard that takes longer. It stops a training only if "
        "the training makes no progress for this time.",
    )
    loader_workers: int | Literal["auto"] = Field(
        "auto",
        description="Number of processes that load training photos for each device. auto: the number of processor "
        "cores per device, but at most 8.",
    )
    cache_gb: float = Field(
        20, gt=0, description="Maximum size of the local cache [GB] for training files that come from remote stores."
    )

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
        description="Number of photos in the gallery, which shows the best, the worst and random results. 0: no "
        "gallery.",
    )


class RunConfig(Section):
    """All settings of a run."""

    name: str = Field(
        ...,
        pattern=r"^[A-Za-z0-9{][A-Za-z0-9._{}-]*$",
        description="Name of the run. clipes replaces {date} and {time} with the date and time of the run's start.",
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
