"""The stage `prompt_scores`: computes a photo's CAMs with each of several templates, and scores the CAMs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.inputs.truth import load_truth
from clipes.tasks.machine.opencv_threads import limit_opencv_threads
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import PHOTO_ROWS
from clipes.tasks.plan.row_schema import PhotoRow, column
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import Stage
from clipes.tasks.stages.cams import batch_cams, cam_settings
from clipes.tasks.stages.columns.confusions import TRIPLET_COLUMNS, cell_columns, sparse_cells
from clipes.tasks.stages.mask_scores import CAM_POWERS, SCORED_AS, confusions_of_cams
from clipes.tasks.stages.texts import CANDIDATE_TEXTS, RankingOfTemplates, read_texts
from clipes.tasks.stages.true_masks import TRUE_MASKS
from clipes_core.errors import PhotoError

if TYPE_CHECKING:
    from clipes_core.cams import PhotoCams

CELL_COLUMNS = ("template", "scored", "background_power", *TRIPLET_COLUMNS)
MEASURED = tuple((SCORED_AS[name], float(power)) for name, powers in CAM_POWERS.items() for power in powers)


@dataclass(frozen=True, kw_only=True)
class PromptScoresRow(PhotoRow):
    """The non-zero cells of a photo's confusion matrices, in six lists with one item per cell.

    Attributes:
        template: index of the template in `RunInputs.sampled`.
        scored: kind of prediction: initial_cam or refined_cam.
        background_power: exponent of the background score.
        truth: true id of the cell.
        prediction: predicted id of the cell.
        pixels: number of pixels with this true id and this predicted id.
    """

    template: tuple[int, ...] = column("list<int32>", ())
    scored: tuple[str, ...] = column("list<string>", ())
    background_power: tuple[float, ...] = column("list<float32>", ())
    truth: tuple[int, ...] = column("list<uint8>", ())
    prediction: tuple[int, ...] = column("list<uint8>", ())
    pixels: tuple[int, ...] = column("list<int64>", ())


class PromptScores(Stage):
    """Compares the CAMs of all sampled templates with true masks."""

    name, version = "prompt_scores", 1
    upstream = (CANDIDATE_TEXTS,)
    after = (TRUE_MASKS,)
    row, kind, workers = PromptScoresRow, PHOTO_ROWS, "gpu"
    needs_truth = True
    needs_labels = True
    sampled = True
    pooled = True
    ranking = RankingOfTemplates

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any] | None:
        if not inputs.sampled:
            return None
        return {**cam_settings(inputs), "templates": inputs.sampled, "classes": len(inputs.vocabulary.classes)}

    @override
    def rows(self, job: ShardJob) -> Iterator[PromptScoresRow]:
        """Compute the CAMs of a shard's photos with each sampled template, and compare the CAMs with true masks."""
        from clipes.tasks.inputs.batches import compute_in_batches
        from clipes.tasks.models.loaded_clip import loaded_backbone
        from clipes_core.views import Viewer, list_views

        limit_opencv_threads()
        config = job.config
        backbone = loaded_backbone(config.clip, job.model_digest, job.precision)
        text_sets = [read_texts(job, uri) for uri in job.upstream_uris(CANDIDATE_TEXTS)]

        viewer = Viewer(list_views(config.cam), backbone.patch_size)
        compute, memory_mib = partial(batch_cams, backbone, text_sets, config.cam), config.execution.decode_memory_mib
        found = compute_in_batches(
            job.photos, config.dataset, viewer.patch_size, compute, viewer, memory_mib=memory_mib
        )
        for photo, loaded, cams in found:
            try:
                if isinstance(cams, PhotoError):
                    raise cams
                assert loaded is not None  # because the photo has CAMs
                yield _row(photo, loaded.size_hw, cams, 1 + len(job.vocabulary.classes))
            except PhotoError as error:
                yield PromptScoresRow.failed(photo.image_id, error)


PROMPT_SCORES = PromptScores()


def _row(photo: Photo, size_hw: tuple[int, int], cams: "Sequence[PhotoCams]", num_classes: int) -> PromptScoresRow:
    truth = load_truth(photo, size_hw)
    class_ids = np.asarray(photo.class_ids, dtype=np.int64)
    cells: list[tuple[Any, ...]] = []
    for template, of_template in enumerate(cams):
        maps = {name: getattr(of_template, name) for name in CAM_POWERS}
        for scored, power, matrix in confusions_of_cams(maps, class_ids, truth, num_classes):
            cells += [(template, scored, float(power), *cell) for cell in sparse_cells(matrix)]
    return PromptScoresRow(image_id=photo.image_id, **cell_columns(CELL_COLUMNS, cells))
