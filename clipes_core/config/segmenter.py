"""The settings of the segmenter: its training and its evaluation.

Section, equation and table numbers are those of the CLIP-ES paper (CVPR 2023, arXiv 2212.09506).
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.config.section import Section

CHECKPOINTS, VALIDATIONS = 20, 10  # of a training whose config does not set the interval


class TrainConfig(Section):
    """The training of the segmenter on the pseudo masks (CLIP-ES sec. 3.4, 4.1)."""

    enabled: bool = Field(
        True,
        description="If true, clipes trains a segmenter. If false, the run ends after clipes has scored the pseudo "
        "masks.",
    )
    mmseg_config: str = Field(
        "deeplabv2_r101_voc12",
        description="MMSegmentation config of the segmenter: the name of a config in configs/mmseg, or the path of a "
        ".py file. clipes replaces the data sets and losses of the config.",
    )
    loss: Literal["cgl", "ce"] = Field(
        "cgl",
        description="Loss function. cgl: confidence-guided loss (CLIP-ES eq. 9); ce: cross entropy over all pixels "
        "(CLIP-ES table 7).",
    )
    mu: Annotated[float, Field(ge=0, le=1)] | Literal["labels"] = Field(
        0.95,
        description="Confidence threshold of the loss cgl: a number, or the word labels. A number: the loss ignores "
        "pixels with a lower confidence (CLIP-ES eq. 9). labels: the loss has no threshold; instead, pixels with a "
        "confidence below 0.95 get the label 255 (ignore), as in the published program of CLIP-ES.",
    )
    iterations: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="Number of iterations (batches) of the training. null: the number in the MMSegmentation config.",
    )
    init: str | None = Field(
        None,
        description="Initial weights: torchvision://NAME, a path, a URI, or the word none for random weights. null: "
        "the weights that are set in the MMSegmentation config.",
    )
    seed: int = Field(
        0, ge=0, lt=2**32, description="Seed of the initial weights, the order of the photos and the augmentation."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Numerical precision of the training. auto: fp16 with loss scaling on a CUDA GPU, otherwise fp32.",
    )
    checkpoint_every: int | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="Number of iterations from one checkpoint to the next. null: 1/20 of all iterations.",
    )
    keep_checkpoints: int = Field(
        2,
        ge=1,
        le=1000,
        description="Number of checkpoints that clipes keeps: the latest ones. clipes also keeps the weights with the "
        "best mIoU in a validation.",
    )
    validate_every: int | None = Field(
        None,
        ge=0,
        le=10_000_000,
        description="Number of iterations from one validation to the next. A validation measures the mIoU on photos "
        "of the section `evaluation`. 0: no validation; null: 1/10 of all iterations.",
    )
    compare_masks: bool = Field(
        False,
        description="If true, the trained segmenter also predicts the masks of the photos of the data set, and photos "
        "whose pseudo mask it contradicts are listed as photos to check. This takes one more pass over all photos.",
    )
    validate_photos: int = Field(100, ge=1, le=1_000_000, description="Maximum number of photos in a validation.")

    def checkpoint_interval(self, iterations: int) -> int:
        """Return the number of iterations between two checkpoints of a training with this many iterations."""
        return max(1, iterations // CHECKPOINTS) if self.checkpoint_every is None else self.checkpoint_every

    def validation_interval(self, iterations: int) -> int:
        """Return the number of iterations between two validations; 0 if there are none."""
        return max(1, iterations // VALIDATIONS) if self.validate_every is None else self.validate_every


class EvaluationCrfConfig(DenseCrfConfig):
    """The dense CRF that refines the segmenter's predictions."""

    enabled: bool = Field(False, description="If true, a CRF aligns the predictions with the edges in the photo.")


class EvaluationConfig(Section):
    """The photos on which the segmenter is scored, and how the segmenter predicts the masks of these photos.

    The keys root, split, truth, seed and count choose the photos. If all five keys are null, clipes does not score the
    segmenter. If at least one key is set, each key that is null gets the value of the same key in `dataset`.
    """

    root: str | None = Field(
        None, description="Folder of the data set: a path or any fsspec URI. null: the value of `dataset.root`."
    )
    split: str | None = Field(
        None, description="Name of a split, or the path or URI of a list file. null: the value of `dataset.split`."
    )
    truth: str | None = Field(None, description="Folder of the true masks. null: the value of `dataset.truth`.")
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="Seed of the generated scenes. null: the value of `dataset.seed`."
    )
    count: int | None = Field(
        None, ge=1, le=100_000, description="Number of generated scenes. null: the value of `dataset.count`."
    )
    empty: Literal["background", "leave_out"] = Field(
        "background",
        description="How clipes treats photos without labels. background: the segmenter is scored on these photos, "
        "too; leave_out: these photos are no part of the evaluation.",
    )
    mode: Literal["whole", "slide"] = Field(
        "whole",
        description="Input of the network. whole: the whole photo; slide: overlapping crops of the photo, one after "
        "another.",
    )
    crop: int = Field(513, ge=32, le=10_000, description="Side length of a crop in mode slide [px].")
    stride: int = Field(
        342,
        ge=1,
        le=10_000,
        validate_default=True,
        description="Distance from one crop to the next in mode slide [px]; at most `crop`.",
    )
    scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        (1.0,),
        min_length=1,
        max_length=16,
        description="Factors by which the photo is scaled. The network makes a prediction for each factor. To get "
        "the predictions of kazuto1011/deeplab-pytorch, set `scales` to 1, 0.75 and 0.5, and set `merge` to max.",
    )
    flip: bool = Field(False, description="If true, the network also makes a prediction for the mirrored photo.")
    merge: Literal["mean", "max"] = Field(
        "mean",
        description="How clipes merges the predictions for all scales and for the mirrored photo. mean: mean of the "
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
        """Return a dict with the values of root, split, truth, seed and count, without the keys that are null.

        The values replace the values of the same keys in `dataset`. The dict is empty if the segmenter is not scored.
        """
        chosen = self.model_dump(include={"root", "split", "truth", "seed", "count"})
        return {key: value for key, value in chosen.items() if value is not None}
