"""The files of a ranking of words under <store>/runs/<name>."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.stage_summary import summaries
from clipes.tasks.runs.words.ranking import ClassRanking, SeenWord, WordFindings, word_findings
from clipes.tasks.runs.words.request import WordRequest
from clipes.tasks.stages.embeddings import EMBEDDINGS
from clipes.tasks.stages.words.word_scores import WORD_SCORES
from clipes.tasks.stages.words.word_texts import WORD_TEXTS
from clipes.tasks.storage.layout import BACKGROUND_TABLE, SYNONYMS_TABLE
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_schemas.tables import BACKGROUND_SCHEMA, SYNONYMS_SCHEMA

FINDINGS = "words"  # key in metrics.json
FIRING_COLUMNS = ("photos", "fires", "beats", "share", "even", "share_elsewhere")


def write_words(
    run: PreparedRun, ledger: Ledger, request: WordRequest, identity: str
) -> tuple[WordFindings, dict[str, Any]]:
    """Rank words; write synonyms.parquet or background_words.parquet.

    Args:
        run: the run.
        ledger: state of the run's shards.
        request: what to rank.
        identity: `run_identity` of the run, for the table.

    Returns:
        The ranking, and its entry in metrics.json.

    Raises:
        ArtifactError: an artifact of the stage `word_scores` cannot be read.
        StageError: no photo, or no photo of a class of the request, could be encoded.
    """
    uris = [record.uri for record in ledger.records(WORD_SCORES.name)]
    found = word_findings(run.store, uris, run.inputs, request)
    files = RunFiles(run.store.uri, run.config.name)
    if found.classes:
        table = pa.Table.from_pylist(synonym_rows(found.classes), schema=SYNONYMS_SCHEMA)
        files.write_table(SYNONYMS_TABLE, table, identity)
    if found.seen:
        table = pa.Table.from_pylist(background_rows(found.seen), schema=BACKGROUND_SCHEMA)
        files.write_table(BACKGROUND_TABLE, table, identity)
    counts = summaries(ledger, [EMBEDDINGS.name, WORD_TEXTS.name])
    facts = {
        "words": len(request.words),
        "words_encoded": counts[WORD_TEXTS.name].computed_rows,
        "photos_encoded": counts[EMBEDDINGS.name].computed_rows,
    }
    return found, facts


def synonym_rows(classes: Sequence[ClassRanking]) -> list[dict[str, Any]]:
    """Return the rows of synonyms.parquet: one per candidate, the best candidate of each class first."""
    return [
        {
            "class": ranking.class_name,
            **asdict(each.scores),
            "source": each.candidate.source,
            "sense": each.candidate.sense,
            "photos_with": ranking.photos.with_class,
            "photos_without": ranking.photos.without_class,
            "photos_several": ranking.photos.with_several,
        }
        for ranking in classes
        for each in ranking.ranked
    ]


def background_rows(seen: Sequence[SeenWord]) -> list[dict[str, Any]]:
    """Return the rows of background_words.parquet: one per class and word, the largest share of each class first."""
    return [
        {
            "class": each.class_name,
            "word": each.firing.word,
            "known": each.known,
            **{name: getattr(each.firing, name) for name in FIRING_COLUMNS},
            "examples": list(each.examples),
        }
        for each in seen
    ]
