"""The stage `word_scores`: the logits of a photo for the texts of the vocabulary and for the words of a ranking."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from typing_extensions import override

from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_schema import PhotoRow, column
from clipes.tasks.stages.embeddings import EMBEDDINGS, Scorer, ScoresOfEmbeddings
from clipes.tasks.stages.texts import TEXTS
from clipes.tasks.stages.words.word_texts import WORD_TEXTS, RankingOfWords
from clipes_core.finite import OF_CLIP, check_finite


@dataclass(frozen=True, kw_only=True)
class WordScoresRow(PhotoRow):
    """The logits of a photo: CLIP's logit scale times the cosine of its embedding and the feature of each text.

    Attributes:
        class_ids: data set ids of the photo's classes.
        text_logits: (T,) logits of the texts of the vocabulary, in the order of the rows of the stage `texts`.
        word_logits: (W,) logits of the words of the ranking.
    """

    class_ids: tuple[int, ...] = column("list<int16>")
    text_logits: tuple[float, ...] = column("list<float32>", ())
    word_logits: tuple[float, ...] = column("list<float32>", ())


class WordScores(ScoresOfEmbeddings):
    """Computes the logits of all texts and words."""

    name, version = "word_scores", 1
    upstream = (EMBEDDINGS, TEXTS, WORD_TEXTS)
    row = WordScoresRow
    ranking = RankingOfWords

    @override
    def scorer(self, job: ShardJob) -> Scorer:
        texts, words = (_features(job.store.uri, job.upstream_uris(stage)) for stage in (TEXTS, WORD_TEXTS))

        def score(embedding: np.ndarray, _class_ids: tuple[int, ...], scale: float) -> dict[str, tuple[float, ...]]:
            exact = embedding.astype(np.float64)
            direction = scale * exact / np.linalg.norm(exact)
            logits = {"text_logits": texts @ direction, "word_logits": words @ direction}
            check_finite(np.concatenate([*logits.values()]), "a logit", OF_CLIP)
            return {column: tuple(values.tolist()) for column, values in logits.items()}

        return score


WORD_SCORES = WordScores()


@lru_cache(maxsize=2)
def _features(store_uri: str, uris: tuple[str, ...]) -> np.ndarray:
    """Read the (T, D) features of all texts of artifacts; cached, so that a process reads them once per ranking."""
    from clipes.tasks.storage.artifact_store import ArtifactStore

    store = ArtifactStore(store_uri)
    return np.asarray(
        [feature for uri in uris for feature in store.read(uri, ["feature"]).to_pydict()["feature"]], dtype=np.float64
    )
