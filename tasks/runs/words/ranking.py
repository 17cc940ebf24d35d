"""The ranking of words, computed from the artifacts of the stage `word_scores`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.runs.words.request import Candidate, WordRequest
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import StageError
from clipes_core.prompts import vocabulary_texts
from clipes_core.words.background import Firing, firings
from clipes_core.words.logits import FEW_PHOTOS, PhotoLogits, photo_logits
from clipes_core.words.synonyms import PhotoCounts, RankedWord, count_photos, rank_words

COLUMNS = ("image_id", "status", "class_ids", "text_logits", "word_logits")


class RankedCandidate(NamedTuple):
    """A candidate and its scores."""

    candidate: Candidate
    scores: RankedWord


@dataclass(frozen=True)
class ClassRanking:
    """The candidates of a class, the best first, and the numbers of photos that their scores rest on."""

    class_name: str
    photos: PhotoCounts
    ranked: tuple[RankedCandidate, ...]

    @property
    def few(self) -> bool:
        """True if the means rest on few photos."""
        return min(self.photos.with_class, self.photos.without_class) < FEW_PHOTOS


@dataclass(frozen=True)
class SeenWord:
    """A background word and its scores on the photos of a class.

    Attributes:
        class_name: name of the class.
        known: whether the vocabulary has the word among its background words.
        firing: the scores.
        examples: ids of the photos in `firing.examples`.
    """

    class_name: str
    known: bool
    firing: Firing
    examples: tuple[str, ...]

    @property
    def few(self) -> bool:
        """True if the means rest on few photos."""
        return self.firing.photos < FEW_PHOTOS


@dataclass(frozen=True)
class WordFindings:
    """The result of a ranking of words.

    Attributes:
        classes: rankings of candidates, one per class.
        seen: scores of the background words, class by class, the largest share first.
    """

    classes: tuple[ClassRanking, ...]
    seen: tuple[SeenWord, ...]

    @property
    def never(self) -> tuple[str, ...]:
        """The background words that fire on no photo of any class, in the order of the request."""
        fired = {each.firing.word for each in self.seen if each.firing.fires > 0}
        return tuple(dict.fromkeys(each.firing.word for each in self.seen if each.firing.word not in fired))


def word_findings(store: ArtifactStore, uris: Iterable[str], inputs: RunInputs, request: WordRequest) -> WordFindings:
    """Rank words by the logits in the artifacts of the stage `word_scores`.

    Args:
        store: store that holds the artifacts.
        uris: URIs of all artifacts of the stage.
        inputs: inputs of the run, whose candidates are the words of the request.
        request: what to rank.

    Raises:
        ArtifactError: an artifact cannot be read.
        StageError: no photo, or no photo of a class of the request, could be encoded.
    """
    image_ids, logits = _read(store, uris, inputs)
    columns = {word: place for place, word in enumerate(inputs.candidates)}
    classes = tuple(_class_ranking(logits, inputs, columns, request, name) for name in request.classes)
    return WordFindings(classes, _seen(logits, inputs, request.background, image_ids) if request.background else ())


def _read(store: ArtifactStore, uris: Iterable[str], inputs: RunInputs) -> tuple[list[str], PhotoLogits]:
    """Read the logits of all photos that have a result, in the order of their ids."""
    image_ids, class_ids, of_texts, of_words = [], [], [], []
    for table in store.read_all(uris, COLUMNS):
        made = table.filter(pc.equal(table["status"], "ok"))
        if made.num_rows:
            image_ids += made["image_id"].to_pylist()
            class_ids += made["class_ids"].to_pylist()
            of_texts.append(_matrix(made["text_logits"]))
            of_words.append(_matrix(made["word_logits"]))
    if not image_ids:
        raise StageError("no photo with labels could be encoded: see rejects.parquet")
    order = np.argsort(image_ids)
    texts = vocabulary_texts(inputs.vocabulary, inputs.config.prompts)
    logits = photo_logits(
        [class_ids[photo] for photo in order],
        np.asarray([text.class_id for text in texts]),
        np.concatenate(of_texts)[order],
        np.concatenate(of_words)[order],
    )
    return [image_ids[photo] for photo in order], logits


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of lists of the same length as a matrix with one row per list."""
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1)


def _class_ranking(
    logits: PhotoLogits, inputs: RunInputs, columns: Mapping[str, int], request: WordRequest, name: str
) -> ClassRanking:
    own = {each.word: each for each in request.candidates if each.class_name == name}
    place = inputs.vocabulary.ids[name] - 1
    counts = count_photos(logits, place)
    if not counts.with_class:
        raise StageError(f"no photo with the label {name} could be encoded: see rejects.parquet")
    ranked = rank_words(logits, place, list(own), [columns[word] for word in own])
    return ClassRanking(name, counts, tuple(RankedCandidate(own[each.word], each) for each in ranked))


def _seen(
    logits: PhotoLogits, inputs: RunInputs, words: Sequence[str], image_ids: Sequence[str]
) -> tuple[SeenWord, ...]:
    used = inputs.vocabulary.background_words
    in_softmax = used if inputs.config.prompts.background else ()
    places = [in_softmax.index(word) if word in in_softmax else None for word in words]
    names = [entry.name for entry in inputs.vocabulary.classes]
    return tuple(
        SeenWord(names[each.place], each.word in used, each, tuple(image_ids[photo] for photo in each.examples))
        for each in firings(logits, words, places)
    )
