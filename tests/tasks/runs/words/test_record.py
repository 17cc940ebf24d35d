import numpy as np
import pyarrow.parquet as pq
import pytest
from support.plain_runs import ledger_of, photo, plain_run, run_inputs, write_artifact

from clipes.tasks.runs.words.ranking import word_findings
from clipes.tasks.runs.words.record import write_words
from clipes.tasks.runs.words.request import Candidate, WordRequest
from clipes.tasks.stages.embeddings import EMBEDDINGS, EmbeddingsRow
from clipes.tasks.stages.texts import TextRow
from clipes.tasks.stages.words.word_scores import WORD_SCORES, WordScoresRow
from clipes.tasks.stages.words.word_texts import WORD_TEXTS, RankingOfWords
from clipes.tasks.storage.run_schemas.tables import BACKGROUND_SCHEMA, SYNONYMS_SCHEMA
from clipes_core.errors import ErrorKind, PhotoError, StageError

IDENTITY = "plain 2026-01-01T00:00:00+00:00"
CANDIDATES = (Candidate("cat", "cat", "vocabulary"), Candidate("cat", "kitten", "wordnet", "young cat"))
BAD = PhotoError(ErrorKind.MISSING, "gone")


def row(image_id, class_ids, words, texts=(0.0, 0.0, 0.0)):
    """Return a row; the texts are those of cat, dog and sky."""
    return WordScoresRow(image_id=image_id, class_ids=class_ids, text_logits=texts, word_logits=words)


@pytest.fixture
def write(tmp_path):
    """Return a function that writes the rows of two shards, and returns the run and its ledger."""

    def write(request, *shards):
        inputs = run_inputs((photo("a"),), ranking=RankingOfWords(request.words))
        run = plain_run(str(tmp_path), inputs, ("embeddings", "texts", "word_texts", "word_scores"))
        records = [write_artifact(run.store.uri, WORD_SCORES, rows, shard) for shard, rows in enumerate(shards)]
        embedded = EmbeddingsRow(image_id="a", class_ids=(1,), embedding=(1.0,), logit_scale=100.0)
        text = TextRow(class_id=1, name="cat", sentences=("a cat.",), feature=np.ones(2))
        others = ((EMBEDDINGS, embedded), (WORD_TEXTS, text))
        return run, ledger_of(*records, *(write_artifact(run.store.uri, stage, [made]) for stage, made in others))

    return write


def table(run, name):
    return pq.read_table(f"{run.store.uri}/runs/plain/{name}")


def test_candidates_are_ranked_and_written(write):
    request = WordRequest(CANDIDATES)
    run, ledger = write(
        request, [row("b", (1,), (0.0, 1.0))], [row("a", (1, 2), (0.0, 1.0)), row("c", (2,), (0.0, -1.0))]
    )
    found, facts = write_words(run, ledger, request, IDENTITY)

    (ranking,) = found.classes
    assert [(each.scores.rank, each.scores.word) for each in ranking.ranked] == [(1, "kitten"), (2, "cat")]
    assert ranking.ranked[0].candidate == CANDIDATES[1]
    assert ranking.few
    written = table(run, "synonyms.parquet")
    assert written.schema.remove_metadata() == SYNONYMS_SCHEMA
    first = written.to_pylist()[0]
    assert (first["class"], first["word"], first["source"], first["sense"]) == ("cat", "kitten", "wordnet", "young cat")
    assert first["margin"] == pytest.approx(first["share_with"] - first["share_without"])
    assert (first["photos_with"], first["photos_without"], first["photos_several"]) == (2, 1, 1)
    assert facts == {"words": 2, "words_encoded": 1, "photos_encoded": 1}
    assert written.schema.metadata[b"clipes.run"] == IDENTITY.encode()


def test_background_words_are_measured_and_written(write):
    request = WordRequest(background=("sky", "snow", "mud"))
    run, ledger = write(
        request, [row("b", (1,), (0.0, 3.0, -5.0)), row("a", (1,), (0.0, 5.0, -5.0)), row("c", (2,), (0.0, 0.0, -5.0))]
    )
    found, _ = write_words(run, ledger, request, IDENTITY)

    assert found.never == ("sky", "mud")  # sky competes with the class alone, so that half the softmax is even
    written = table(run, "background_words.parquet")
    assert written.schema.remove_metadata() == BACKGROUND_SCHEMA
    rows = written.to_pylist()
    assert [(each["class"], each["word"]) for each in rows[:3]] == [("cat", "snow"), ("cat", "sky"), ("cat", "mud")]
    assert rows[0]["examples"] == ["a", "b"]  # the largest share first
    assert [each["known"] for each in rows[:3]] == [False, True, False]
    assert rows[0]["share"] == pytest.approx(np.mean([np.exp(n) / (np.exp(n) + 2) for n in (3, 5)]))
    assert found.seen[0].few


def test_photos_without_a_result_are_left_out(write):
    request = WordRequest(CANDIDATES)
    bad = WordScoresRow.failed("b", BAD, class_ids=(1,))
    run, ledger = write(request, [bad, row("a", (1,), (0.0, 1.0))])
    found, _ = write_words(run, ledger, request, IDENTITY)
    assert found.classes[0].photos.with_class == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([WordScoresRow.failed("b", BAD, class_ids=(1,))], "no photo with labels could be encoded"),
        ([row("a", (2,), (0.0, 1.0))], "no photo with the label cat could be encoded"),
    ],
)
def test_a_class_without_a_result_is_an_error(write, rows, message):
    request = WordRequest(CANDIDATES)
    run, ledger = write(request, rows)
    uris = [record.uri for record in ledger.records("word_scores")]
    with pytest.raises(StageError, match=message):
        word_findings(run.store, uris, run.inputs, request)
    assert WORD_TEXTS.name in run.stages
