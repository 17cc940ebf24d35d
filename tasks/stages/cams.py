"""The stage `cams`: the initial and the refined CAM of each class present in a photo, at the size of the patch grid."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from clipes.tasks.inputs.photos import LoadedPhoto, Photo
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import PHOTO_ROWS
from clipes.tasks.plan.row_schema import PhotoRow, column
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import Stage
from clipes.tasks.stages.columns.cams import encoded_cams, encoded_residual
from clipes.tasks.stages.texts import TEXTS, read_texts
from clipes_core.config.pseudo_masks import CamConfig
from clipes_core.errors import PhotoError
from clipes_core.preprocessing import patch_grid
from clipes_core.refinements import REFINEMENTS
from clipes_core.text_features import BACKGROUND_ID, TextFeatures

if TYPE_CHECKING:
    from clipes.tasks.inputs.batches import Loaded
    from clipes_core.backbones.backbone import Backbone
    from clipes_core.cams import PhotoCams
    from clipes_core.device import Job
    from clipes_core.views import PhotoViews

NO_COMPETITOR = "only one text takes part in the softmax, so the CAM is empty"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CamsRow(PhotoRow):
    """A photo's CAMs.

    Attributes:
        notes: remarks about the photo. If only one text takes part in the softmax, they include NO_COMPETITOR.
        height: height of the photo [px].
        width: width of the photo [px].
        work_height: height of the photo after its reduction to `dataset.max_side` [px].
        work_width: width of the photo after this reduction [px].
        grid_h: number of rows of the patch grid.
        grid_w: number of columns of the patch grid.
        class_ids: data set ids of the photo's K classes.
        scores: (K,) softmax scores; logits if `cam.softmax` is false.
        cam: (K, grid_h, grid_w) initial CAMs as float16, little-endian, C order, in [0, 1].
        refined_cam: refined CAMs, in the same form as `cam`.
        refined_residual: rounding error of `refined_cam`, in the same form; see `clipes.tasks.stages.columns.cams`.
    """

    notes: tuple[str, ...] = column("list<string>", ())
    height: int | None = column("int32", None)
    width: int | None = column("int32", None)
    work_height: int | None = column("int32", None)
    work_width: int | None = column("int32", None)
    grid_h: int | None = column("int32", None)
    grid_w: int | None = column("int32", None)
    class_ids: tuple[int, ...] = column("list<int16>")
    scores: tuple[float, ...] = column("list<float32>", ())
    cam: bytes = column("binary", b"")
    refined_cam: bytes = column("binary", b"")
    refined_residual: bytes = column("binary", b"")


def cam_settings(inputs: RunInputs) -> dict[str, Any]:
    """Return the settings that CAMs depend on, without the settings of the stage `texts`."""
    return {
        "model": inputs.image_network,
        "cam": inputs.config.cam.model_dump(),
        "photo": inputs.photo_settings,
    }


class Cams(Stage):
    """Computes the CAMs of photos, in batches of photos of the same size."""

    name, version = "cams", 1
    upstream = (TEXTS,)
    row, kind, workers = CamsRow, PHOTO_ROWS, "gpu"

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any]:
        return cam_settings(inputs)

    @override
    def rows(self, job: ShardJob) -> Iterator[CamsRow]:
        """Compute the CAMs of a shard's photos, in batches of photos of the same size."""
        from clipes.tasks.inputs.batches import compute_in_batches
        from clipes.tasks.models.loaded_clip import loaded_backbone
        from clipes_core.views import Viewer, list_views

        config = job.config
        backbone = loaded_backbone(config.clip, job.model_digest, job.precision)
        if REFINEMENTS[config.cam.refine].needs_attention and config.cam.attention_blocks > backbone.depth:
            _warn_of_depth(config.cam.attention_blocks, backbone.depth)
        (texts_uri,) = job.upstream_uris(TEXTS)
        texts = read_texts(job, texts_uri)
        viewer = Viewer(list_views(config.cam), backbone.patch_size)
        compute, memory_mib = partial(batch_cams, backbone, [texts], config.cam), config.execution.decode_memory_mib
        found = compute_in_batches(
            job.photos, config.dataset, viewer.patch_size, compute, viewer, known_cams, memory_mib
        )
        for photo, loaded, cams in found:
            if isinstance(cams, PhotoError):
                yield CamsRow.failed(photo.image_id, cams, class_ids=photo.class_ids)
                continue
            assert loaded is not None  # because the photo has a result
            notes = () if _competes(photo, texts, config.cam) else (NO_COMPETITOR,)
            yield cams_row(photo, loaded, backbone.patch_size, cams[0], notes)


CAMS = Cams()


@cache
def _warn_of_depth(attention_blocks: int, depth: int) -> None:
    """Warn that the network has fewer blocks than `cam.attention_blocks`; the cache prevents repeated warnings."""
    logger.warning(
        "cam.attention_blocks is %d, but the network has only %d blocks; using all of them", attention_blocks, depth
    )


def batch_cams(
    backbone: "Backbone", text_sets: Sequence[TextFeatures], config: CamConfig, batch: "list[Loaded]"
) -> "Job[list[list[PhotoCams]]]":
    """Compute the CAMs of a batch of photos of the same size, with each set of texts."""
    from clipes_core.cams import cams_of_batch

    photos, class_ids = [loaded.image for _, loaded in batch], [photo.class_ids for photo, _ in batch]
    return cams_of_batch(backbone, text_sets, photos, class_ids, config)


def known_cams(photo: Photo) -> "list[PhotoCams] | None":
    """Return the empty CAMs of a photo without classes, and None for any other photo."""
    from clipes_core.cams import PhotoCams

    no_maps = np.zeros((0, 0, 0), np.float32)
    return None if photo.class_ids else [PhotoCams(scores=np.zeros(0, np.float32), cam=no_maps, refined_cam=no_maps)]


def _competes(photo: Photo, texts: TextFeatures, config: CamConfig) -> bool:
    """Return False if only one text takes part in the softmax. The score of this text is always 1."""
    return not config.softmax or len(photo.class_ids) != 1 or BACKGROUND_ID in texts.class_ids


def cams_row(
    photo: Photo,
    loaded: "LoadedPhoto[PhotoViews]",
    patch_size: int,
    cams: "PhotoCams",
    notes: tuple[str, ...],
) -> CamsRow:
    """Return the row of a photo whose CAMs have been computed.

    Args:
        photo: the photo.
        loaded: its views.
        patch_size: side of a patch [px].
        cams: its CAMs.
        notes: further remarks about the photo.
    """
    height, width = loaded.size_hw
    work_height, work_width = loaded.image.size_hw
    grid_h, grid_w = patch_grid(loaded.image.size_hw, patch_size)
    return CamsRow(
        image_id=photo.image_id,
        class_ids=photo.class_ids,
        notes=(*loaded.notes, *notes),
        height=height,
        width=width,
        work_height=work_height,
        work_width=work_width,
        grid_h=grid_h,
        grid_w=grid_w,
        scores=tuple(cams.scores.tolist()),
        cam=encoded_cams(cams.cam),
        refined_cam=encoded_cams(cams.refined_cam),
        refined_residual=encoded_residual(cams.refined_cam),
    )
