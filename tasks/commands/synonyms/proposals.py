"""Propose words for a vocabulary from a ranking, and write them as YAML."""

import json
import os
from collections.abc import Sequence

from clipes.tasks.inputs.config_text.written import item_yaml
from clipes.tasks.runs.words.ranking import ClassRanking, SeenWord, WordFindings
from clipes.tasks.runs.words.record import background_rows, synonym_rows
from clipes.tasks.storage.user_files import write_bytes
from clipes_core.config.run import RunConfig
from clipes_core.config.uri import is_uri
from clipes_core.errors import UsageError
from clipes_core.vocabulary import ClassEntry, Vocabulary

MOST_WORDS = 3  # words of a class: longer sentences dilute the class
MOST_NEW = 10  # proposed background words


def proposed_vocabulary(vocabulary: Vocabulary, found: WordFindings) -> Vocabulary:
    """Return a vocabulary with the proposed words of the ranked classes, and the proposed background words."""
    best = {ranking.class_name: best_words(ranking) for ranking in found.classes}
    classes = tuple(_with_words(entry, best.get(entry.name, ())) for entry in vocabulary.classes)
    background = (*vocabulary.background_words, *new_background_words(found.seen))
    return vocabulary.model_copy(update={"classes": classes, "background_words": background})


def best_words(ranking: ClassRanking) -> tuple[str, ...]:
    """Return the words of a class from the best one down to its best current word, at most MOST_WORDS.

    The result is empty if a current word is the best, or if the ranking rests on few photos. Words that WordNet gives
    for a meaning that no current word has are left out: a person must choose those.
    """
    candidates = [each.candidate for each in ranking.ranked]
    meant = {each.sense for each in candidates if each.source == "vocabulary"}
    meant_words = [each for each in candidates if each.source != "wordnet" or each.sense in meant]
    chosen: list[str] = []
    for each in meant_words[:MOST_WORDS]:
        chosen.append(each.word)
        if each.source == "vocabulary":
            break
    return () if ranking.few or meant_words[0].source == "vocabulary" else tuple(chosen)


def new_background_words(seen: Sequence[SeenWord]) -> tuple[str, ...]:
    """Return the new words whose mean score on the photos of a class is above an even part.

    A word is new if it is not a background word yet. At most MOST_NEW words are returned, the largest score first.
    Scores that rest on few photos do not count.
    """
    trusted = [each for each in seen if not each.known and not each.few]
    new = [each.firing for each in trusted if each.firing.share > each.firing.even]
    strongest = sorted(new, key=lambda firing: -firing.share / firing.even)
    return tuple(dict.fromkeys(firing.word for firing in strongest))[:MOST_NEW]


def proposed_lines(vocabulary: Vocabulary, found: WordFindings) -> list[str]:
    """Return the proposed lines of a vocabulary file: those of the ranked classes, or that of the background words."""
    changed = proposed_vocabulary(vocabulary, found)
    names = {ranking.class_name for ranking in found.classes}
    lines = [class_line(entry) for entry in changed.classes if entry.name in names]
    return [*lines, background_line(changed)] if found.seen else lines


def class_line(entry: ClassEntry) -> str:
    """Return the line of a class in a vocabulary file."""
    values = entry.model_dump(mode="json", exclude_defaults=True)
    return f"  - {{{', '.join(f'{key}: {item_yaml(value)}' for key, value in values.items())}}}"


def background_line(vocabulary: Vocabulary) -> str:
    """Return the line of the background words in a vocabulary file."""
    return f"background_words: {item_yaml(list(vocabulary.background_words))}"


def ranking_json(vocabulary: Vocabulary, found: WordFindings, folder: str) -> str:
    """Return the document that `clipes synonyms --json` prints.

    Args:
        vocabulary: vocabulary of the run.
        found: the ranking.
        folder: URI of the run's folder.
    """
    lines = [line.strip() for line in proposed_lines(vocabulary, found)]
    rows = {"synonyms": synonym_rows(found.classes), "background_words": background_rows(found.seen)}
    return json.dumps({"run": folder, **rows, "never_fire": found.never, "proposed_lines": lines}, indent=2)


def vocabulary_yaml(vocabulary: Vocabulary, config: RunConfig) -> str:
    """Return the content of a vocabulary file.

    Args:
        vocabulary: the vocabulary.
        config: config of the ranking that proposed its words.
    """
    source = config.dataset.classes if isinstance(config.dataset.classes, str) else "a list"
    return "\n".join(
        [
            f"# The classes of {source}, with the words that `clipes synonyms` proposed in the run {config.name}.",
            background_line(vocabulary),
            "classes:",
            *map(class_line, vocabulary.classes),
            "",
        ]
    )


def check_target(path: str) -> None:
    """Check that no file exists where the vocabulary is to be written.

    Raises:
        UsageError: the file exists, or the place is not a local path.
    """
    if is_uri(path):
        raise UsageError(f"--to: {path} is not a local path; write the vocabulary to a local file, and copy it")
    if os.path.lexists(path):
        raise UsageError(f"--to: {path} exists already; name a new file, or delete this one")


def write_vocabulary(path: str, vocabulary: Vocabulary, found: WordFindings, config: RunConfig) -> None:
    """Write a vocabulary with the proposed words to a new file.

    Args:
        path: path of the file.
        vocabulary: vocabulary of the run.
        found: the ranking.
        config: config of the run.

    Raises:
        UsageError: the file exists by now.
        DatasetError: writing is not permitted.
        StorageError: the disk is full.
    """
    check_target(path)
    write_bytes(path, vocabulary_yaml(proposed_vocabulary(vocabulary, found), config).encode())


def _with_words(entry: ClassEntry, words: Sequence[str]) -> ClassEntry:
    if not words:
        return entry
    return entry.model_copy(update={"words": " ".join(words), "synonyms": tuple(words)})
