"""Stage cams: initial and refined CAM of each class present in a photo, at grid size."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from clipes.tasks.inputs.batches import Batches, Loaded, in_halves
from clipes.tasks.inputs.photos import LoadedPhoto, Photo, load_photos
from clipes.tasks.machine.devices import token_budget
from clipes.tasks.machine.worker import current_worker
from clipes.tasks.models.loaded_clip import loaded_backbone
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.stages.cam_rows import encoded_cams, encoded_residual
from clipes.tasks.stages.texts import read_texts
from clipes_core.backbone import Backbone
from clipes_core.cams import PhotoCams, photo_cams
from clipes_core.config.run import CamConfig
from clipes_core.errors import PhotoError
from clipes_core.photo import patch_grid
from clipes_core.prompts import BACKGROUND_ID
from clipes_core.text_features import TextFeatures

NO_COMPETITOR = "no other text competes in the softmax: the CAM is empty"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CamsRow:
    """A photo's CAMs as the artifact holds them; see the schema in tasks/stages.py."""

    image_id: str
    class_ids: tuple[int, ...]
    status: str = "ok"
    error: str | None = None
    error_kind: str | None = None
    notes: tuple[str, ...] = ()
    height: int | None = None
    width: int | None = None
    work_height: int | None = None
    work_width: int | None = None
    grid_h: int | None = None
    grid_w: int | None = None
    scores: tuple[float, ...] = ()
    cam: bytes = b""
    refined_cam: bytes = b""
    refined_residual: bytes = b""


def rows(job: ShardJob) -> Iterator[CamsRow]:
    """Make the CAMs of a shard's photos, photos of one size in batches."""
    config = job.config
    backbone = loaded_backbone(config.clip)
    if config.cam.refine != "none" and config.cam.attention_blocks > backbone.depth:
        _warn_of_depth(config.cam.attention_blocks, backbone.depth)
    (texts_uri,) = job.plan.upstream["texts"]
    texts = read_texts(job.store, texts_uri, config.clip)
    batches = Batches(token_budget(current_worker().slot.device), backbone.patch_size)
    for photo, loaded in load_photos(job.photos, config.dataset):
        if isinstance(loaded, PhotoError):
            yield CamsRow(photo.image_id, photo.class_ids, "error", loaded.reason, loaded.kind)
        elif not photo.class_ids:
            yield _row(photo, loaded, backbone.patch_size, None)
        elif batch := batches.add(photo, loaded):
            yield from batch_rows(backbone, texts, batch, config.cam)
    for batch in batches.rest():
        yield from batch_rows(backbone, texts, batch, config.cam)


@cache
def _warn_of_depth(attention_blocks: int, depth: int) -> None:
    """Said once per process, which makes many shards."""
    logger.warning("cam.attention_blocks is %d, the network has %d blocks: all are used", attention_blocks, depth)


def batch_rows(backbone: Backbone, texts: TextFeatures, batch: list[Loaded], config: CamConfig) -> Iterator[CamsRow]:
    """Make the CAMs of photos of one size; a batch that does not fit into memory is halved.

    Yields:
        One row per photo; a photo that does not fit alone has an error.
    """

    def compute(part: list[Loaded]) -> list[PhotoCams]:
        images = [loaded.image for _, loaded in part]
        return photo_cams(backbone, texts, images, [photo.class_ids for photo, _ in part], config)

    for photo, loaded, cams in in_halves(batch, compute):
        if isinstance(cams, PhotoError):
            yield CamsRow(photo.image_id, photo.class_ids, "error", cams.reason, cams.kind)
            continue
        notes = () if _competes(photo, texts, config) else (NO_COMPETITOR,)
        yield _row(photo, loaded, backbone.patch_size, cams, notes)


def _competes(photo: Photo, texts: TextFeatures, config: CamConfig) -> bool:
    """False where the softmax is taken over one text: its score is 1 whatever the photo shows."""
    return not config.softmax or len(photo.class_ids) > 1 or BACKGROUND_ID in texts.class_ids


def _row(
    photo: Photo, loaded: LoadedPhoto, patch_size: int, cams: PhotoCams | None, notes: tuple[str, ...] = ()
) -> CamsRow:
    height, width = loaded.size_hw
    grid_h, grid_w = patch_grid((loaded.image.height, loaded.image.width), patch_size)
    return CamsRow(
        photo.image_id,
        photo.class_ids,
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
