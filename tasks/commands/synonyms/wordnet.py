"""Look up nouns in WordNet, with the library `wn` and the data that it has stored on this machine."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clipes_core.errors import ConfigError

if TYPE_CHECKING:
    import wn

NOUN = "n"
ADVICE = (
    "on a machine with internet access, run python -m wn download oewn:2024, which writes to ~/.wn_data; for another "
    "machine or place, copy that folder and set WN_DATA_DIR to it"
)


@dataclass(frozen=True)
class Sense:
    """A meaning of a noun.

    Attributes:
        words: words with this meaning.
        gloss: definition of the meaning.
    """

    words: tuple[str, ...]
    gloss: str


class WordNet:
    """The English nouns of WordNet.

    Args:
        related: whether the senses of a noun include the next broader and narrower meanings.
    """

    def __init__(self, related: bool = False) -> None:
        self._database, self._related = _open(), related

    def senses(self, text: str) -> list[Sense]:
        """Return the meanings of a noun, the most frequent first; empty if WordNet lacks the noun.

        A noun that WordNet only knows as two words, such as diningtable, is found as well. Names of persons, places and
        other single things are left out.
        """
        found = self._database.synsets(text, pos=NOUN)
        if not found and text.isalpha():
            splits = (f"{text[:place]} {text[place:]}" for place in range(2, len(text) - 1))
            found = next((hits for split in splits if (hits := self._database.synsets(split, pos=NOUN))), [])
        meanings = (meaning for synset in found for meaning in self._with_related(synset))
        return [
            Sense(tuple(word for word in meaning.lemmas() if word.islower()), meaning.definition() or "")
            for meaning in meanings
            if not meaning.get_related("instance_hypernym")
        ]

    def _with_related(self, synset: "wn.Synset") -> "Iterator[wn.Synset]":
        yield synset
        if self._related:
            yield from synset.get_related("hypernym", "hyponym")


def _open() -> "wn.Wordnet":
    """Open the English WordNet.

    Raises:
        ConfigError: this machine has no data of WordNet, or the data cannot be read.
    """
    import wn

    path = wn.config.database_path
    if not path.is_file():  # checked first, because wn would create a new database
        raise ConfigError(f"WordNet is not on this machine (no {path}): {ADVICE}; or leave it out with --no-wordnet")
    leave_out = "or leave it out with --no-wordnet"
    try:
        return wn.Wordnet(lang="en")
    except wn.Error as exc:
        raise ConfigError(f"{path} has no English WordNet ({exc}): {ADVICE}; {leave_out}") from exc
    except sqlite3.Error as exc:
        raise ConfigError(f"{path} cannot be read: {exc}; delete it, and then {ADVICE}; {leave_out}") from exc
