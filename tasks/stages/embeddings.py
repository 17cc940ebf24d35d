"""Stage embeddings: what CLIP's image network says of a photo, whatever the template."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from clipes.tasks.inputs.batches import Loaded, in_batches
from clipes.tasks.models.loaded_clip import loaded_backbone, loaded_clip, logit_scale
from clipes.tasks.plan.jobs import ShardJob
from clipes_core.errors import PhotoError


@dataclass(frozen=True)
class EmbeddingsRow:
    """A photo's embedding, pooled as clip.pooling says; see the schema in tasks/stages.py."""

    image_id: str
    class_ids: tuple[int, ...]
    status: str = "ok"
    error: str | None = None
    error_kind: str | None = None
    notes: tuple[str, ...] = ()
    embedding: tuple[float, ...] = ()
    logit_scale: float | None = None


def rows(job: ShardJob) -> Iterator[EmbeddingsRow]:
    """Encode a shard's photos, photos of one size in batches; scale 1, no mirror."""
    config = job.config
    backbone = loaded_backbone(config.clip)
    scale = logit_scale(loaded_clip(config.clip))

    @torch.no_grad()
    def encode(batch: list[Loaded]) -> list[np.ndarray]:
        pixels = torch.stack([backbone.pixels(loaded.image) for _, loaded in batch])
        return list(backbone.encode(pixels).embedding.cpu().numpy())

    for photo, loaded, embedding in in_batches(job.photos, config.dataset, backbone.patch_size, encode):
        if isinstance(embedding, PhotoError):
            yield EmbeddingsRow(photo.image_id, photo.class_ids, "error", embedding.reason, embedding.kind)
        else:
            notes = loaded.notes if loaded else ()
            values = tuple(embedding.tolist())
            yield EmbeddingsRow(photo.image_id, photo.class_ids, notes=notes, embedding=values, logit_scale=scale)
