"""The stage `prompts`: the score that each candidate template gives to each class of a photo."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from typing_extensions import override

from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_schema import PhotoRow, column
from clipes.tasks.stages.embeddings import EMBEDDINGS, Scorer, ScoresOfEmbeddings
from clipes.tasks.stages.texts import CANDIDATE_TEXTS, RankingOfTemplates
from clipes_core.template_ranking import CandidateFeatures


@dataclass(frozen=True, kw_only=True)
class PromptsRow(PhotoRow):
    """The softmax scores of a photo's classes with each candidate template.

    Attributes:
        class_ids: data set ids of the photo's K classes.
        scores: (T, K) scores of the classes in `class_ids` with each of the T candidate templates, in C order.
    """

    class_ids: tuple[int, ...] = column("list<int16>")
    scores: tuple[float, ...] = column("list<float32>", ())


class Prompts(ScoresOfEmbeddings):
    """Computes the scores of all candidate templates."""

    name, version = "prompts", 1
    upstream = (CANDIDATE_TEXTS, EMBEDDINGS)
    row = PromptsRow
    ranking = RankingOfTemplates

    @override
    def scorer(self, job: ShardJob) -> Scorer:
        texts = _candidate_features(job.store.uri, job.upstream_uris(CANDIDATE_TEXTS))

        def score(embedding: np.ndarray, class_ids: tuple[int, ...], scale: float) -> dict[str, tuple[float, ...]]:
            return {"scores": tuple(texts.scores(embedding, class_ids, scale).ravel().tolist())}

        return score


PROMPTS = Prompts()


@lru_cache(maxsize=1)
def _candidate_features(store_uri: str, uris: tuple[str, ...]) -> CandidateFeatures:
    """Read the text features of all candidate templates; cached, so that a process reads them once per ranking."""
    from clipes.tasks.storage.artifact_store import ArtifactStore

    store = ArtifactStore(store_uri)
    tables = [store.read(uri, ["class_id", "feature"]).to_pydict() for uri in uris]
    features = np.asarray([table["feature"] for table in tables], dtype=np.float32)
    return CandidateFeatures(np.asarray(tables[0]["class_id"]), features)
