"""The stage `embeddings`: encodes each photo with CLIP. An embedding does not depend on the template."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import override

from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import PHOTO_ROWS
from clipes.tasks.plan.row_schema import PhotoRow, check_upstream, column
from clipes.tasks.plan.run_inputs import Ranking, RunInputs
from clipes.tasks.plan.stage import Stage
from clipes_core.errors import PhotoError
from clipes_core.finite import OF_CLIP, check_finite

if TYPE_CHECKING:
    import numpy as np

    from clipes.tasks.inputs.batches import Loaded
    from clipes_core.backbones.backbone import Backbone
    from clipes_core.device import Job


@dataclass(frozen=True, kw_only=True)
class EmbeddingsRow(PhotoRow):
    """A photo's embedding, pooled according to `clip.pooling`.

    Attributes:
        notes: remarks about the photo, such as the conversions that were applied.
        class_ids: data set ids of the photo's K classes.
        embedding: (D,) embedding, not normalised.
        logit_scale: CLIP's logit scale after exp; the same in every row.
    """

    notes: tuple[str, ...] = column("list<string>", ())
    class_ids: tuple[int, ...] = column("list<int16>")
    embedding: tuple[float, ...] = column("list<float32>", ())
    logit_scale: float | None = column("float32", None)


class Embeddings(Stage):
    """Encodes photos at scale 1 without mirroring, in batches of photos of the same size."""

    name, version = "embeddings", 1
    row, kind, workers = EmbeddingsRow, PHOTO_ROWS, "gpu"
    needs_labels = True
    ranking = Ranking

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any]:
        return {"model": inputs.image_network, "photo": inputs.photo_settings}

    @override
    def rows(self, job: ShardJob) -> Iterator[EmbeddingsRow]:
        """Encode a shard's photos at scale 1 without mirroring, in batches of photos of the same size."""
        from clipes.tasks.inputs.batches import compute_in_batches
        from clipes.tasks.models.loaded_clip import loaded_backbone, loaded_clip, logit_scale
        from clipes_core.views import View, Viewer

        config = job.config
        backbone = loaded_backbone(config.clip, job.model_digest, job.precision)
        scale = logit_scale(loaded_clip(config.clip, job.model_digest))

        viewer, memory_mib = Viewer((View(1.0, flip=False),), backbone.patch_size), config.execution.decode_memory_mib
        encode = partial(_embeddings, backbone)
        found = compute_in_batches(job.photos, config.dataset, viewer.patch_size, encode, viewer, memory_mib=memory_mib)
        for photo, loaded, embedding in found:
            if isinstance(embedding, PhotoError):
                yield EmbeddingsRow.failed(photo.image_id, embedding, class_ids=photo.class_ids)
                continue
            yield EmbeddingsRow(
                image_id=photo.image_id,
                class_ids=photo.class_ids,
                notes=loaded.notes if loaded else (),
                embedding=tuple(embedding.tolist()),
                logit_scale=scale,
            )


EMBEDDINGS = Embeddings()
COLUMNS = ("image_id", "status", "error", "class_ids", "embedding", "logit_scale")
Scorer = Callable[["np.ndarray", tuple[int, ...], float], Mapping[str, tuple[float, ...]]]


class ScoresOfEmbeddings(Stage):
    """A stage that scores each photo by its embedding, without opening the photo. The row has a column `class_ids`."""

    kind, workers = PHOTO_ROWS, "cpu"
    needs_labels = pooled = True

    @override
    def reads(self, _inputs: RunInputs) -> dict[str, Any]:
        return {}  # the upstream keys cover everything that the result depends on

    @abstractmethod
    def scorer(self, job: ShardJob) -> Scorer:
        """Return a function that computes the scores of a photo, as column -> values.

        Its arguments are the (D,) float32 embedding of the photo, the data set ids of its classes, and CLIP's logit
        scale. It raises PhotoError if the photo cannot be scored.
        """

    @override
    def rows(self, job: ShardJob) -> Iterator[PhotoRow]:
        """Compute the scores of a shard's photos from their embeddings."""
        import numpy as np

        score, scored_row = self.scorer(job), cast(Any, self.row)
        for row in job.upstream_rows(EMBEDDINGS, COLUMNS):
            image_id, class_ids = row["image_id"], tuple(row["class_ids"])
            try:
                check_upstream(row, "embedding")
                scores = score(np.asarray(row["embedding"], np.float32), class_ids, row["logit_scale"])
            except PhotoError as error:
                yield scored_row.failed(image_id, error, class_ids=class_ids)
                continue
            yield scored_row(image_id=image_id, class_ids=class_ids, **scores)


def _embeddings(backbone: "Backbone", batch: "list[Loaded]") -> "Job[list[np.ndarray]]":
    """Encode a batch of photos of the same size."""
    import numpy as np

    from clipes_core.device import download

    encoded = backbone.encode(np.stack([loaded.image.views[0] for _, loaded in batch]))
    get_embeddings = download(encoded.embedding)
    del encoded  # which keeps many tensors of the last block
    yield
    (embeddings,) = get_embeddings()
    check_finite(embeddings, "an embedding", OF_CLIP)
    return list(embeddings)
