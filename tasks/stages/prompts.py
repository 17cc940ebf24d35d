"""The stage `prompts`: the score that each candidate template gives to each class of a photo."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from typing_extensions import override

from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import PHOTO_ROWS
from clipes.tasks.plan.row_schema import PhotoRow, check_upstream, column
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import Stage
from clipes.tasks.stages.embeddings import EMBEDDINGS
from clipes.tasks.stages.texts import CANDIDATE_TEXTS, RankingOfTemplates
from clipes_core.errors import PhotoError
from clipes_core.template_ranking import CandidateFeatures

EMBEDDING_COLUMNS = ("image_id", "status", "error", "class_ids", "embedding", "logit_scale")


@dataclass(frozen=True, kw_only=True)
class PromptsRow(PhotoRow):
    """The softmax scores of a photo's classes with each candidate template.

    Attributes:
        class_ids: data set ids of the photo's K classes.
        scores: (T, K) scores of the classes in `class_ids` with each of the T candidate templates, in C order.
    """

    class_ids: tuple[int, ...] = column("list<int16>")
    scores: tuple[float, ...] = column("list<float32>", ())


class Prompts(Stage):
    """Computes the scores of all candidate templates from the photos' embeddings, without opening a photo."""

    name, version = "prompts", 1
    upstream = (CANDIDATE_TEXTS, EMBEDDINGS)
    row, kind, workers = PromptsRow, PHOTO_ROWS, "cpu"
    needs_labels = True
    pooled = True
    ranking = RankingOfTemplates

    @override
    def reads(self, _inputs: RunInputs) -> dict[str, Any]:
        return {}  # the upstream keys cover everything that the result depends on

    @override
    def rows(self, job: ShardJob) -> Iterator[PromptsRow]:
        """Compute the scores of all candidate templates for a shard's photos, from the photos' embeddings."""
        texts = _candidate_features(job.store.uri, job.upstream_uris(CANDIDATE_TEXTS))
        for row in job.upstream_rows(EMBEDDINGS, EMBEDDING_COLUMNS):
            image_id, class_ids = row["image_id"], tuple(row["class_ids"])
            try:
                check_upstream(row, "embedding")
                scores = texts.scores(np.asarray(row["embedding"], np.float32), class_ids, row["logit_scale"])
            except PhotoError as error:
                yield PromptsRow.failed(image_id, error, class_ids=class_ids)
                continue
            yield PromptsRow(image_id=image_id, class_ids=class_ids, scores=tuple(scores.ravel().tolist()))


PROMPTS = Prompts()


@lru_cache(maxsize=1)
def _candidate_features(store_uri: str, uris: tuple[str, ...]) -> CandidateFeatures:
    """Read the text features of all candidate templates; cached, so that a process reads them once per ranking."""
    from clipes.tasks.storage.artifact_store import ArtifactStore

    store = ArtifactStore(store_uri)
    tables = [store.read(uri, ["class_id", "feature"]).to_pydict() for uri in uris]
    features = np.asarray([table["feature"] for table in tables], dtype=np.float32)
    return CandidateFeatures(np.asarray(tables[0]["class_id"]), features)
