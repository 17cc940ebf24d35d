"""The stage `word_scores`: the logits of a photo for the texts of the vocabulary and for the words of a ranking."""

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
from clipes.tasks.stages.prompts import EMBEDDING_COLUMNS
from clipes.tasks.stages.texts import TEXTS
from clipes.tasks.stages.words.word_texts import WORD_TEXTS, RankingOfWords
from clipes_core.errors import PhotoError
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


class WordScores(Stage):
    """Computes the logits of all texts and words from the photos' embeddings, without opening a photo."""

    name, version = "word_scores", 1
    upstream = (EMBEDDINGS, TEXTS, WORD_TEXTS)
    row, kind, workers = WordScoresRow, PHOTO_ROWS, "cpu"
    needs_labels = pooled = True
    ranking = RankingOfWords

    @override
    def reads(self, _inputs: RunInputs) -> dict[str, Any]:
        return {}  # the upstream keys cover everything that the result depends on

    @override
    def rows(self, job: ShardJob) -> Iterator[WordScoresRow]:
        """Compute the logits of all texts and words for a shard's photos."""
        texts, words = (_features(job.store.uri, job.upstream_uris(stage)) for stage in (TEXTS, WORD_TEXTS))
        for row in job.upstream_rows(EMBEDDINGS, EMBEDDING_COLUMNS):
            image_id, class_ids = row["image_id"], tuple(row["class_ids"])
            try:
                check_upstream(row, "embedding")
                exact = np.asarray(row["embedding"], np.float64)
                direction = row["logit_scale"] * exact / np.linalg.norm(exact)
                of_texts, of_words = texts @ direction, words @ direction
                check_finite(np.concatenate([of_texts, of_words]), "a logit", OF_CLIP)
            except PhotoError as error:
                yield WordScoresRow.failed(image_id, error, class_ids=class_ids)
                continue
            yield WordScoresRow(
                image_id=image_id,
                class_ids=class_ids,
                text_logits=tuple(of_texts.tolist()),
                word_logits=tuple(of_words.tolist()),
            )


WORD_SCORES = WordScores()


@lru_cache(maxsize=2)
def _features(store_uri: str, uris: tuple[str, ...]) -> np.ndarray:
    """Read the (T, D) features of all texts of artifacts; cached, so that a process reads them once per ranking."""
    from clipes.tasks.storage.artifact_store import ArtifactStore

    store = ArtifactStore(store_uri)
    return np.asarray(
        [feature for uri in uris for feature in store.read(uri, ["feature"]).to_pydict()["feature"]], dtype=np.float64
    )
