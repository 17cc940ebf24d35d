"""Propose synonyms of classes, and background words that fit what the classes are about."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import yaml

from clipes.tasks.machine.shipped_files import INIT_WORDS


@dataclass(frozen=True)
class Theme:
    """What a data set may be about.

    Attributes:
        name: name of the theme.
        words: key words of classes that belong to it.
        background: what surrounds such things in photos.
    """

    name: str
    words: frozenset[str]
    background: tuple[str, ...]


@dataclass(frozen=True)
class WordProposals:
    """The words that clipes proposes; see configs/init/words.yaml.

    Attributes:
        synonyms: class name in lower case -> its synonyms.
        everywhere: background words of every proposal.
        themes: the themes.
    """

    synonyms: Mapping[str, tuple[str, ...]]
    everywhere: tuple[str, ...]
    themes: tuple[Theme, ...]

    def background_words(self, class_words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return background words for classes, without the words of the classes, and the themes that they come from.

        Args:
            class_words: the names, words and synonyms of the classes.
        """
        keys = {form for text in class_words for word in _words(text) for form in _forms(word)}
        themes = [theme for theme in self.themes if theme.words & keys]
        proposed = dict.fromkeys([*self.everywhere, *(word for theme in themes for word in theme.background)])
        kept = tuple(word for word in proposed if not {form for each in _words(word) for form in _forms(each)} & keys)
        return kept, tuple(theme.name for theme in themes)


@cache
def read_proposals() -> WordProposals:
    """Read the words that clipes proposes."""
    values = yaml.safe_load(INIT_WORDS.read_text(encoding="utf-8"))
    themes = (
        Theme(name, frozenset(theme["words"]), tuple(theme["background"])) for name, theme in values["themes"].items()
    )
    synonyms = {name: tuple(words) for name, words in values["synonyms"].items()}
    return WordProposals(synonyms, tuple(values["everywhere"]), tuple(themes))


def _words(text: str) -> Iterable[str]:
    return re.findall(r"[^\W\d_]+", text.casefold())


def _forms(word: str) -> Iterable[str]:
    """Return a word and what may be its singular."""
    return {word, word.removesuffix("s"), word.removesuffix("es")}
