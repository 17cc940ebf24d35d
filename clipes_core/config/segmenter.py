"""The settings of the segmenter: its training and its evaluation.

Section, equation and table numbers are those of CLIP-ES (CVPR 2023, arXiv 2212.09506).
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.config.section import Section


class TrainConfig(Section):
    """The segmenter that is trained on the pseudo masks (sec. 3.4, 4.1)."""

    enabled: bool = Field(
        True, description="Whether a segmenter is trained; if not, the run ends with the scores of the pseudo masks."
    )
    mmseg_config: str = Field(
        "deeplabv2_r101_voc12",
        description="MMSegmentation config: a name under configs/mmseg, or the path of a .py file. clipes replaces the "
        "config's data and losses.",
    )
    loss: Literal["cgl", "ce"] = Field(
        "cgl", description="Loss: confidence-guided (eq. 9), or cross entropy on all pixels (table 7)."
    )
    mu: Annotated[float, Field(ge=0, le=1)] | Literal["labels"] = Field(
        0.95,
        description="Confidence threshold of the loss cgl, which ignores pixels below it (eq. 9). With `labels`, "
        "pixels whose confidence is below 0.95 get the label 255 instead, as in the published program.",
    )
    iterations: int | None = Field(
        None, ge=1, le=10_000_000, description="Number of training steps; null: as in the MMSegmentation config."
    )
    init: str | None = Field(
        None,
        description="Initial weights: torchvision://NAME, a file, a URI or none; null: the MMSegmentation config's.",
    )
    seed: int = Field(0, ge=0, description="Seed of the initial weights, the order of the photos and the augmentation.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Precision of the training; auto: fp32 on a CPU, fp16 with loss scaling on a GPU."
    )
    checkpoint_every: int | None = Field(None, ge=1, description="Steps between checkpoints; null: 1/20 of all steps.")
    keep_checkpoints: int = Field(
        2, ge=1, description="Number of most recent checkpoints that are kept in addition to the best one."
    )
    validate_every: int | None = Field(
        None,
        ge=0,
        description="Steps between validations on photos of `evaluation`; 0: never; null: 1/10 of all steps.",
    )
    validate_photos: int = Field(100, ge=1, description="Number of photos that a validation uses.")


class EvaluationCrfConfig(DenseCrfConfig):
    """Dense CRF on the segmenter's probabilities."""

    enabled: bool = Field(False, description="Whether a CRF fits the predictions to the photo's edges.")


class EvaluationConfig(Section):
    """The photos that the segmenter is scored on, and how it predicts their masks.

    If root, split, truth, seed or count is null, the value in `dataset` is used. If all five are null, the segmenter is
    not scored.
    """

    root: str | None = Field(
        None, description="Folder of the data set: a path or any fsspec URI; null: as in `dataset`."
    )
    split: str | None = Field(None, description="A split's name, or the path or URI of a list; null: as in `dataset`.")
    truth: str | None = Field(None, description="Folder of true masks; null: as in `dataset`.")
    seed: int | None = Field(None, ge=0, description="Seed of generated scenes; null: as in `dataset`.")
    count: int | None = Field(None, ge=1, le=100_000, description="Number of generated scenes; null: as in `dataset`.")
    mode: Literal["whole", "slide"] = Field(
        "whole", description="Whether the network sees the whole photo, or overlapping crops."
    )
    crop: int = Field(513, ge=32, description="Side of a crop [px].")
    stride: int = Field(342, ge=1, validate_default=True, description="Distance from one crop to the next [px].")
    scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        (1.0,),
        min_length=1,
        description="Scales of the photo. kazuto1011/deeplab-pytorch uses 1, 0.75 and 0.5 with merge max.",
    )
    flip: bool = Field(False, description="Whether the network also sees the mirrored photo.")
    merge: Literal["mean", "max"] = Field(
        "mean", description="How scales and flips are merged: mean of the probabilities, or maximum of the logits."
    )
    crf: EvaluationCrfConfig = Field(default_factory=EvaluationCrfConfig, description="Dense CRF on the predictions.")

    @field_validator("stride")
    @classmethod
    def _leaves_nothing_out(cls, stride: int, info: ValidationInfo) -> int:
        if info.data.get("mode") == "slide" and stride > info.data.get("crop", stride):
            raise ValueError("must be at most evaluation.crop, otherwise the crops do not cover the photo")
        return stride

    @property
    def photos(self) -> dict[str, Any]:
        """Return the settings that replace those of `dataset`, by key; empty if the segmenter is not scored."""
        chosen = self.model_dump(include={"root", "split", "truth", "seed", "count"})
        return {key: value for key, value in chosen.items() if value is not None}
