"""Stage prompts: how each candidate template scores the classes of a photo."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import ErrorKind
from clipes_core.templates import CandidateTexts

EMBEDDING_COLUMNS = ("image_id", "status", "error", "class_ids", "embedding", "logit_scale")


@dataclass(frozen=True)
class PromptsRow:
    """A photo's scores, per template those of its classes; see the schema in tasks/stages.py."""

    image_id: str
    class_ids: tuple[int, ...]
    status: str = "ok"
    error: str | None = None
    error_kind: str | None = None
    scores: tuple[float, ...] = ()


def rows(job: ShardJob) -> Iterator[PromptsRow]:
    """Score a shard's photos with all candidates; no photo is opened."""
    texts = _candidate_texts(job.store.uri, job.plan.upstream["candidate_texts"])
    for row in job.upstream_rows("embeddings", EMBEDDING_COLUMNS):
        image_id, class_ids = row["image_id"], tuple(row["class_ids"])
        if row["status"] != "ok":
            yield PromptsRow(image_id, class_ids, "error", f"no embedding: {row['error']}", ErrorKind.UPSTREAM)
        else:
            scores = texts.scores(np.asarray(row["embedding"], np.float32), class_ids, row["logit_scale"])
            yield PromptsRow(image_id, class_ids, scores=tuple(scores.ravel().tolist()))


@lru_cache(maxsize=1)
def _candidate_texts(store_uri: str, uris: tuple[str, ...]) -> CandidateTexts:
    """The texts of all candidates, read once per process and ranking."""
    store = ArtifactStore(store_uri)
    tables = [store.read(uri, ["class_id", "feature"]).to_pydict() for uri in uris]
    features = np.asarray([table["feature"] for table in tables], dtype=np.float32)
    return CandidateTexts(np.asarray(tables[0]["class_id"]), features)
