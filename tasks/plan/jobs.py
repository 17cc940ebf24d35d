"""One shard of one stage: copy what did not change, compute the rest, write the artifact."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from clipes.tasks.inputs.photos import Photo, Reject
from clipes.tasks.plan.shard_plan import ShardPlan
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.config.run import RunConfig
from clipes_core.errors import TransientError
from clipes_core.vocabulary import Vocabulary


class Row(Protocol):
    """What a stage yields per photo: a frozen dataclass with the columns of the stage's schema."""

    @property
    def image_id(self) -> str:
        """Of the photo."""


@dataclass(frozen=True)
class ShardJob:
    """All that a worker process needs to make a shard; picklable.

    Attributes:
        imports: modules of the user's own that a trained network is made of.
    """

    plan: ShardPlan
    store: ArtifactStore
    config: RunConfig
    vocabulary: Vocabulary
    imports: tuple[str, ...] = ()

    @property
    def photos(self) -> tuple[Photo, ...]:
        """The photos to make rows for."""
        return self.plan.to_compute

    def upstream_rows(self, stage: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Rows of an upstream stage for the photos to compute, streamed in the artifact's order."""
        wanted = {photo.image_id for photo in self.photos}
        (uri,) = self.plan.upstream[stage]
        return (row for row in self.store.read_rows(uri, columns) if row["image_id"] in wanted)


@dataclass(frozen=True)
class ShardRecord:
    """What became of a shard; small enough for Prefect's database.

    Attributes:
        uri: of the artifact.
        images: rows in all.
        copied: rows taken from an earlier artifact.
        computed: rows made now; 0 with `cached`.
        seconds: spent by the worker.
        rejects: the shard's rows without result, but for those an earlier stage reports.
        worker: which process made it, as device:pid; empty when cached.
        peak_memory_mib: the most memory that process has had so far.
    """

    stage: str
    shard: int
    uri: str
    images: int
    cached: bool
    copied: int = 0
    computed: int = 0
    seconds: float = 0.0
    rejects: tuple[Reject, ...] = ()
    worker: str = ""
    peak_memory_mib: int = 0

    @property
    def complete(self) -> bool:
        """False where a row failed for a cause that may pass; the shard will be made again."""
        return not any(reject.kind.transient for reject in self.rejects)

    def check(self) -> None:
        """Refuse a shard that is to be made again.

        Raises:
            TransientError: how many rows failed for a cause that may pass, and the first reason.
        """
        passing = [reject for reject in self.rejects if reject.kind.transient]
        if passing:
            first = passing[0].reason
            raise TransientError(f"{len(passing)} photos failed for a cause that may pass; the first: {first}")
