"""The stage `segmenter_agreement`: compares each pseudo mask with what the segmenter predicts for the same photo."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from clipes.tasks.inputs.photos import load_photos
from clipes.tasks.machine.opencv_threads import limit_opencv_threads
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import PHOTO_ROWS
from clipes.tasks.plan.row_schema import PhotoRow, check_upstream, column
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import Stage
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.stages.segmenter import SEGMENTER
from clipes.tasks.stages.segmenter_scores import segmenter_of
from clipes_core.config.run import RunConfig
from clipes_core.errors import PhotoError

MASK_COLUMNS = ("image_id", "status", "error", "class_ids", "mask_png")
COMPARED = {"scales": (1.0,), "flip": False}  # settings of the prediction, which is not refined by a CRF


@dataclass(frozen=True, kw_only=True)
class SegmenterAgreementRow(PhotoRow):
    """How well a pseudo mask and the prediction of the segmenter agree.

    Attributes:
        agreement: mIoU of mask and prediction over the background and the labels of the photo, in [0, 1].
    """

    agreement: float | None = column("float64", None)


class SegmenterAgreement(Stage):
    """Runs the trained segmenter on the photos of the data set, to find masks that it contradicts."""

    row, kind, workers = SegmenterAgreementRow, PHOTO_ROWS, "gpu"
    name, version = "segmenter_agreement", 1
    upstream = (MASKS, SEGMENTER)
    enabled_by = "train.enabled=true and train.compare_masks=true"

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any]:
        evaluation = inputs.config.evaluation
        slide = set() if evaluation.mode == "whole" else {"crop", "stride"}
        return {"evaluation": evaluation.model_dump(include={"mode", *slide}), "photo": inputs.photo_settings}

    @override
    def enabled(self, config: RunConfig) -> bool:
        return config.train.enabled and config.train.compare_masks

    @override
    def rows(self, job: ShardJob) -> Iterator[SegmenterAgreementRow]:
        """Predict the masks of a shard's photos, and compare the predictions with the pseudo masks."""
        from clipes.tasks.inputs.pngs import read_png_map, resized_ids
        from clipes.tasks.models.segmenter_file import predict_ids
        from clipes_core.config.segmenter import EvaluationCrfConfig
        from clipes_core.evaluation.photos_to_check import agreement

        limit_opencv_threads()
        segmenter = segmenter_of(job)
        config = job.config.evaluation.model_copy(update={**COMPARED, "crf": EvaluationCrfConfig(enabled=False)})
        masks = {row["image_id"]: row for row in job.upstream_rows(MASKS, MASK_COLUMNS)}
        for photo, loaded in load_photos(job.photos, job.config.dataset, job.config.execution.decode_memory_mib):
            try:
                row = masks.pop(photo.image_id)
                check_upstream(row, "mask")
                if isinstance(loaded, PhotoError):
                    raise loaded
                ids = resized_ids(predict_ids(segmenter, loaded, config), loaded.size_hw)
                found = agreement(read_png_map(row["mask_png"]), ids, row["class_ids"])
                yield SegmenterAgreementRow(image_id=photo.image_id, agreement=found)
            except PhotoError as error:
                yield SegmenterAgreementRow.failed(photo.image_id, error)


SEGMENTER_AGREEMENT = SegmenterAgreement()
