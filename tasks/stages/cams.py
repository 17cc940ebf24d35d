"""Stage cams: the initial and the refined CAM of each class present in a photo, at the size of the patch grid."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from clipes.tasks.inputs.photos import LoadedPhoto, Photo, load_photos
from clipes.tasks.machine.worker import current_worker
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import PHOTOS
from clipes.tasks.plan.rows import PhotoRow, column
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import Stage
from clipes.tasks.stages.columns.cams import encoded_cams, encoded_residual
from clipes.tasks.stages.texts import TEXTS, read_texts
from clipes_core.config.run import CamConfig
from clipes_core.errors import PhotoError
from clipes_core.preprocessing import patch_grid
from clipes_core.refinements import REFINEMENTS
from clipes_core.text_features import BACKGROUND_ID, TextFeatures

if TYPE_CHECKING:
    from clipes.tasks.inputs.batches import Loaded
    from clipes_core.backbone import Backbone
    from clipes_core.cams import PhotoCams

NO_COMPETITOR = "no other text competes in the softmax: the CAM is empty"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CamsRow(PhotoRow):
    """A photo's CAMs.

    Attributes:
        notes: conversions of the photo, and a remark if no other text competes in the softmax.
        height: height of the photo [px].
        width: width of the photo [px].
        work_height: height of the reduced photo that CAM and CRF use [px].
        work_width: width of the reduced photo [px].
        grid_h: number of rows of the patch grid.
        grid_w: number of columns of the patch grid.
        class_ids: data set ids of the photo's K classes.
        scores: (K,) softmax scores; logits if `cam.softmax` is off.
        cam: (K, grid_h, grid_w) initial CAMs as float16, little-endian, C order, in [0, 1].
        refined_cam: refined CAMs in the same form.
        refined_residual: rounding error of `refined_cam` in the same form, see `clipes.tasks.stages.columns.cams`.
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
    """Return the settings that CAMs depend on, apart from those of their texts."""
    return {
        "model": inputs.image_network,
        "cam": inputs.config.cam.model_dump(),
        "photo": inputs.photo_settings,
    }


class Cams(Stage):
    """Makes CAMs, batching photos of the same size."""

    name, version = "cams", 1
    upstream = (TEXTS,)
    row, kind, workers = CamsRow, PHOTOS, "gpu"

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any]:
        return cam_settings(inputs)

    @override
    def rows(self, job: ShardJob) -> Iterator[CamsRow]:
        """Make the CAMs of a shard's photos, batching photos of the same size."""
        from clipes.tasks.inputs.batches import Batches
        from clipes.tasks.machine.devices import token_budget
        from clipes.tasks.models.loaded_clip import loaded_backbone

        config = job.config
        backbone = loaded_backbone(config.clip, job.precision)
        if REFINEMENTS[config.cam.refine].needs_attention and config.cam.attention_blocks > backbone.depth:
            _warn_of_depth(config.cam.attention_blocks, backbone.depth)
        (texts_uri,) = job.upstream_uris(TEXTS)
        texts = read_texts(job.store, texts_uri, config.clip)
        batches = Batches(token_budget(current_worker().slot.device), backbone.patch_size)
        for photo, loaded in load_photos(job.photos, config.dataset):
            if isinstance(loaded, PhotoError):
                yield CamsRow.failed(photo.image_id, loaded, class_ids=photo.class_ids)
            elif not photo.class_ids:
                yield _row(photo, loaded, backbone.patch_size, None)
            elif batch := batches.add(photo, loaded):
                yield from batch_rows(backbone, texts, batch, config.cam)
        for batch in batches.rest():
            yield from batch_rows(backbone, texts, batch, config.cam)


CAMS = Cams()


@cache
def _warn_of_depth(attention_blocks: int, depth: int) -> None:
    """Warn that the network has fewer blocks than requested; only once per process, which makes many shards."""
    logger.warning(
        "cam.attention_blocks is %d, but the network has only %d blocks; using all of them", attention_blocks, depth
    )


def batch_rows(
    backbone: "Backbone", texts: TextFeatures, batch: "list[Loaded]", config: CamConfig
) -> Iterator[CamsRow]:
    """Make the CAMs of photos of the same size; a batch that does not fit into memory is halved.

    Yields:
        One row per photo. It has an error if the photo does not fit into memory even alone.
    """
    from clipes.tasks.inputs.batches import compute_batch
    from clipes_core.cams import photo_cams

    def compute(part: "list[Loaded]") -> "list[PhotoCams]":
        images = [loaded.image for _, loaded in part]
        return photo_cams(backbone, texts, images, [photo.class_ids for photo, _ in part], config)

    for photo, loaded, cams in compute_batch(batch, compute):
        if isinstance(cams, PhotoError):
            yield CamsRow.failed(photo.image_id, cams, class_ids=photo.class_ids)
            continue
        notes = () if _competes(photo, texts, config) else (NO_COMPETITOR,)
        yield _row(photo, loaded, backbone.patch_size, cams, notes)


def _competes(photo: Photo, texts: TextFeatures, config: CamConfig) -> bool:
    """Return False if the softmax has only one text, because its score is then 1 for any photo."""
    return not config.softmax or len(photo.class_ids) > 1 or BACKGROUND_ID in texts.class_ids


def _row(
    photo: Photo, loaded: LoadedPhoto, patch_size: int, cams: "PhotoCams | None", notes: tuple[str, ...] = ()
) -> CamsRow:
    height, width = loaded.size_hw
    grid_h, grid_w = patch_grid((loaded.image.height, loaded.image.width), patch_size)
    return CamsRow(
        image_id=photo.image_id,
        class_ids=photo.class_ids,
        notes=(*loaded.notes, *notes),
        height=height,
        width=width,
        work_height=loaded.image.height,
        work_width=loaded.image.width,
        grid_h=grid_h,
        grid_w=grid_w,
        scores=() if cams is None else tuple(cams.scores.tolist()),
        cam=b"" if cams is None else encoded_cams(cams.cam),
        refined_cam=b"" if cams is None else encoded_cams(cams.refined_cam),
        refined_residual=b"" if cams is None else encoded_residual(cams.refined_cam),
    )
