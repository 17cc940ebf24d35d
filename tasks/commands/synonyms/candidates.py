"""Collect the words that `clipes synonyms` ranks."""

import logging
import re
from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from clipes.tasks.commands.check.words import token_counts
from clipes.tasks.commands.init.word_proposals import read_proposals
from clipes.tasks.commands.synonyms.wordnet import WordNet
from clipes.tasks.machine.shipped_files import SCENE_WORDS
from clipes.tasks.models.clip import context_length
from clipes.tasks.runs.words.request import Candidate, WordRequest
from clipes.tasks.storage.user_files import absolute, read_lines
from clipes_core.config.run import RunConfig
from clipes_core.errors import ConfigError, DatasetError, UsageError
from clipes_core.prompts import sentences
from clipes_core.vocabulary import ClassEntry, Vocabulary

COMMENT = "#"

logger = logging.getLogger(__name__)


def read_words(path: str) -> tuple[str, ...]:
    """Read words, one per line. Blank lines and lines that begin with # are skipped, repetitions are left out.

    Args:
        path: path or fsspec URI of a UTF-8 text file.

    Raises:
        ConfigError: the file is missing, cannot be read or has no word.
    """
    try:
        lines = [text for _, line in read_lines(absolute(path)) if not (text := _tidy(line)).startswith(COMMENT)]
    except FileNotFoundError as exc:
        raise ConfigError(f"{path}: this file of words does not exist") from exc
    except DatasetError as exc:
        raise ConfigError(str(exc)) from exc
    if not lines:
        raise ConfigError(f"{path}: has no word; write one per line")
    return _unique(lines)


def scene_words() -> tuple[str, ...]:
    """Return the words for common surroundings that clipes ships."""
    return read_words(str(SCENE_WORDS))


def class_request(
    vocabulary: Vocabulary, names: Sequence[str], own: Sequence[str], wordnet: bool = True, related: bool = False
) -> WordRequest:
    """Collect the candidates of classes: their current words, the user's own, those of `clipes init`, and WordNet's.

    Args:
        vocabulary: vocabulary of the data set.
        names: names of classes of the vocabulary.
        own: the user's own words, which are candidates of each class.
        wordnet: whether WordNet's words are candidates. If WordNet is not on this machine, but there are own words, a
            warning says so.
        related: whether WordNet's next broader and narrower words are candidates, too.

    Returns:
        The candidates, class by class; each word once per class. A word from several sources has the first of them.

    Raises:
        ConfigError: WordNet is not on this machine, and there are no own words.
        UsageError: no class is named, a class has no candidate other than its current words, or an own word cannot be
            used.
    """
    _check_own(own)
    if not names:
        raise UsageError(f"name a class, or add --background; the classes are: {', '.join(vocabulary.ids)}")
    database = _wordnet(related, optional=bool(own)) if wordnet else None
    entries = [vocabulary.classes[vocabulary.ids[name] - 1] for name in names]
    return WordRequest(candidates=tuple(each for entry in entries for each in _of_class(entry, own, database)))


def background_request(vocabulary: Vocabulary, own: Sequence[str]) -> WordRequest:
    """Collect background words: those of the vocabulary, and the user's own or, if there are none, those of clipes.

    Words that share a word with a class are left out. If they are the user's, a warning names them.

    Raises:
        UsageError: an own word cannot be used.
    """
    _check_own(own)
    of_classes = {
        token
        for entry in vocabulary.classes
        for text in (entry.name, entry.sentence_words, *entry.synonyms, *entry.aliases)
        for token in _tokens(text)
    }
    shared = [word for word in own if of_classes & _tokens(word)]
    if shared:
        logger.warning("left out, because they share a word with a class: %s", ", ".join(shared))
    further = [word for word in own or scene_words() if not of_classes & _tokens(word)]
    return WordRequest(background=_unique([*vocabulary.background_words, *further]))


def check_lengths(config: RunConfig, words: Sequence[str]) -> None:
    """Check that CLIP can read each word completely inside the template.

    Raises:
        UsageError: a sentence has more tokens than CLIP reads.
        WeightsError: there is no CLIP of the name `clip.model`.
    """
    limit = context_length(config.clip.model)
    made = {sentence: word for word in words for sentence in sentences(word, config.prompts.templates)}
    for sentence, count in token_counts(list(made), limit, config.clip).items():
        if count > limit:
            raise UsageError(
                f"{made[sentence][:60]!r} has {count} tokens in the template, but CLIP reads at most {limit}: "
                "shorten it"
            )


def _check_own(words: Sequence[str]) -> None:
    """Check that each word can be the name of a class: the run reads it as one.

    Raises:
        UsageError: a word is blank, too long or has control characters.
    """
    for word in words:
        try:
            ClassEntry(name=_tidy(word))
        except ValidationError as exc:
            reason = "must not be blank" if not _tidy(word) else exc.errors()[0]["msg"].removeprefix("Value error, ")
            raise UsageError(f"--word or --words: {word[:60]!r}: {reason}; correct the word, or leave it out") from exc


def _of_class(entry: ClassEntry, own: Sequence[str], wordnet: WordNet | None) -> list[Candidate]:
    current = _unique([entry.name, *entry.synonyms, entry.sentence_words])
    senses = _senses(current, wordnet)
    found: dict[str, Candidate] = {}
    for word in current:
        found.setdefault(_folded(word), Candidate(entry.name, word, "vocabulary"))
    for word in _unique(own):
        found.setdefault(_folded(word), Candidate(entry.name, word, "own list"))
    for word in read_proposals().synonyms.get(entry.name.casefold(), ()):
        found.setdefault(_folded(word), Candidate(entry.name, word, "clipes"))
    for word in senses:
        found.setdefault(_folded(word), Candidate(entry.name, word, "wordnet"))
    if len(found) == len(current):
        missing = "" if wordnet is None else f" WordNet has no other word for {' or '.join(current)}."
        raise UsageError(
            f"there is no word to compare with the current words of {entry.name}.{missing} Name words with --word or "
            "--words, or leave the class out"
        )
    by_word = {_folded(word): gloss for word, gloss in senses.items()}
    return [Candidate(each.class_name, each.word, each.source, by_word.get(key, "")) for key, each in found.items()]


def _senses(words: Sequence[str], wordnet: WordNet | None) -> dict[str, str]:
    """Return the words that WordNet relates to nouns, each with its first meaning."""
    found: dict[str, str] = {}
    for sense in () if wordnet is None else (sense for word in words for sense in wordnet.senses(word)):
        for word in sense.words:
            found.setdefault(word, sense.gloss)
    return found


def _wordnet(related: bool, optional: bool) -> WordNet | None:
    try:
        return WordNet(related)
    except ConfigError as missing:
        if not optional:
            raise
        logger.warning("%s", missing)
        return None


def _tokens(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text.casefold()))


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for word in words:
        found.setdefault(_folded(word), _tidy(word))
    return tuple(found.values())


def _folded(text: str) -> str:
    return _tidy(text).casefold()


def _tidy(text: str) -> str:
    return " ".join(text.split())
