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
        True, description="If true, a segmenter is trained. If false, the run ends with the scores of the pseudo masks."
    )
    mmseg_config: str = Field(
        "deeplabv2_r101_voc12",
        description="MMSegmentation config: a name under configs/mmseg, or the path of a .py file. clipes replaces its "
        "data sets and losses.",
    )
    loss: Literal["cgl", "ce"] = Field(
        "cgl", description="Loss. cgl: confidence-guided loss (eq. 9); ce: cross entropy on all pixels (table 7)."
    )
    mu: Annotated[float, Field(ge=0, le=1)] | Literal["labels"] = Field(
        0.95,
        description="Threshold of the loss cgl, which ignores pixels with a lower confidence (eq. 9). labels: as in "
        "the published program, pixels whose confidence is below 0.95 get the label 255 (ignore) instead.",
    )
    iterations: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="Number of iterations (batches) of the training; null: as in the MMSegmentation config.",
    )
    init: str | None = Field(
        None,
        description="Initial weights: torchvision://NAME, a path or a URI; none: random weights; null: the weights "
        "that the MMSegmentation config names.",
    )
    seed: int = Field(0, ge=0, description="Seed of the initial weights, the order of the photos and the augmentation.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Precision of the training; auto: fp16 with loss scaling on a CUDA GPU, otherwise fp32."
    )
    checkpoint_every: int | None = Field(
        None, ge=1, description="Iterations between two checkpoints; null: 1/20 of all iterations."
    )
    keep_checkpoints: int = Field(
        2, ge=1, description="Number of latest checkpoints to keep. The weights with the best mIoU are also kept."
    )
    validate_every: int | None = Field(
        None,
        ge=0,
        description="Iterations between two validations, which measure the mIoU on photos of `evaluation`; 0: no "
        "validations; null: 1/10 of all iterations.",
    )
    validate_photos: int = Field(100, ge=1, description="Number of photos in each validation.")


class EvaluationCrfConfig(DenseCrfConfig):
    """Dense CRF on the segmenter's probabilities."""

    enabled: bool = Field(False, description="If true, a CRF fits the predictions to the edges of the photo.")


class EvaluationConfig(Section):
    """The photos on which the segmenter is scored, and how it predicts their masks.

    If root, split, truth, seed or count is null, the value in `dataset` is used. If all five are null, the segmenter is
    not scored.
    """

    root: str | None = Field(
        None, description="Folder of the data set: a path or any fsspec URI; null: as in `dataset`."
    )
    split: str | None = Field(
        None, description="Name of a split, or path or URI of a list file; null: as in `dataset`."
    )
    truth: str | None = Field(None, description="Folder of true masks; null: as in `dataset`.")
    seed: int | None = Field(None, ge=0, description="Seed of the generated scenes; null: as in `dataset`.")
    count: int | None = Field(None, ge=1, le=100_000, description="Number of generated scenes; null: as in `dataset`.")
    mode: Literal["whole", "slide"] = Field(
        "whole", description="whole: the network sees the whole photo; slide: it sees overlapping crops of the photo."
    )
    crop: int = Field(513, ge=32, description="Side of a crop in mode slide [px].")
    stride: int = Field(
        342, ge=1, validate_default=True, description="Distance from one crop to the next in mode slide [px]."
    )
    scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        (1.0,),
        min_length=1,
        description="Scales at which the network sees the photo; the predictions are merged. "
        "kazuto1011/deeplab-pytorch uses 1, 0.75 and 0.5 with merge max.",
    )
    flip: bool = Field(False, description="If true, the network also sees the mirrored photo; see `merge`.")
    merge: Literal["mean", "max"] = Field(
        "mean",
        description="How the predictions at several scales, mirrored or not, are merged. mean: mean of the "
        "probabilities; max: maximum of the logits.",
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
        """Return the settings of the photos on which the segmenter is scored: key of `dataset` -> its replacement.

        Empty if the segmenter is not scored.
        """
        chosen = self.model_dump(include={"root", "split", "truth", "seed", "count"})
        return {key: value for key, value in chosen.items() if value is not None}
