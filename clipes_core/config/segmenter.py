"""The settings of the segmenter: how it is trained and how it is scored.

Section, equation and table numbers are those of CLIP-ES (CVPR 2023, arXiv 2212.09506).
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.config.section import Section


class TrainConfig(Section):
    """The segmenter that is trained on the pseudo masks (sec. 3.4, 4.1)."""

    enabled: bool = Field(True, description="Without it the run ends with the scores of the pseudo masks.")
    mmseg_config: str = Field(
        "deeplabv2_r101_voc12",
        description="MMSegmentation config: a name under configs/mmseg, or the path of a .py; its data and losses are "
        "replaced.",
    )
    loss: Literal["cgl", "ce"] = Field(
        "cgl", description="Confidence-guided (eq. 9), or cross entropy on all pixels (table 7)."
    )
    mu: Annotated[float, Field(ge=0, le=1)] | Literal["labels"] = Field(
        0.95,
        description="Pixels less confident do not count in cgl (eq. 9); labels: those below 0.95 become 255 in the "
        "labels, as in the published program.",
    )
    iterations: int | None = Field(None, ge=1, le=10_000_000, description="Steps; null: as the MMSegmentation config.")
    init: str | None = Field(
        None,
        description="Initial weights: torchvision://NAME, a file or URI, none; null: as the MMSegmentation config.",
    )
    seed: int = Field(0, ge=0, description="Of initial weights, order and augmentation.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Of the training; auto: fp32 on a CPU, fp16 with loss scaling on a GPU."
    )
    checkpoint_every: int | None = Field(None, ge=1, description="Steps between checkpoints; null: a twentieth of all.")
    keep_checkpoints: int = Field(2, ge=1, description="The last ones that are kept, beside the best.")
    validate_every: int | None = Field(
        None, ge=0, description="Steps between scores on photos of `evaluation`; 0: none; null: a tenth of all."
    )
    validate_photos: int = Field(100, ge=1, description="On how many of them.")


class EvaluationCrfConfig(DenseCrfConfig):
    """Dense CRF on the segmenter's probabilities."""

    enabled: bool = Field(False, description="Fits the predictions to the photo's edges.")


class EvaluationConfig(Section):
    """The photos that the segmenter is scored on, and how. What is null is as in `dataset`; all null: none."""

    root: str | None = Field(None, description="Folder of the data set: a path or any fsspec URI.")
    split: str | None = Field(None, description="A split's name, or the path or URI of a list.")
    truth: str | None = Field(None, description="Folder of true masks.")
    seed: int | None = Field(None, ge=0, description="Of generated scenes.")
    count: int | None = Field(None, ge=1, le=100_000, description="How many scenes are generated.")
    mode: Literal["whole", "slide"] = Field("whole", description="The photo at once, or in crops that overlap.")
    crop: int = Field(513, ge=32, description="Side of a crop [px].")
    stride: int = Field(342, ge=1, validate_default=True, description="From one crop to the next [px].")
    scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        (1.0,), min_length=1, description="Of the photo; the base recipe: 1, 0.75, 0.5 with merge max."
    )
    flip: bool = Field(False, description="The mirrored photo, too.")
    merge: Literal["mean", "max"] = Field(
        "mean", description="Over scales and flips: mean of the probabilities, or maximum of the logits."
    )
    crf: EvaluationCrfConfig = Field(default_factory=EvaluationCrfConfig, description="Dense CRF on the predictions.")

    @field_validator("stride")
    @classmethod
    def _leaves_nothing_out(cls, stride: int, info: ValidationInfo) -> int:
        if info.data.get("mode") == "slide" and stride > info.data.get("crop", stride):
            raise ValueError("must be at most evaluation.crop, or what lies between two crops is left out")
        return stride

    @property
    def photos(self) -> dict[str, Any]:
        """What differs from `dataset` in the photos; empty where there are none."""
        chosen = self.model_dump(include={"root", "split", "truth", "seed", "count"})
        return {key: value for key, value in chosen.items() if value is not None}
