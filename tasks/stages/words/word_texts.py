"""The stage `word_texts`: the text features of words that a ranking compares."""

from dataclasses import dataclass, replace

from typing_extensions import override

from clipes.tasks.plan.run_inputs import Ranking, RunInputs
from clipes.tasks.stages.texts import CandidateTexts
from clipes.tasks.storage.layout import BACKGROUND_TABLE, SYNONYMS_TABLE
from clipes_core.vocabulary import ClassEntry, Vocabulary


@dataclass(frozen=True)
class RankingOfWords(Ranking):
    """A ranking of words of classes, or of background words, by `clipes synonyms`."""

    ranks = entry = "words"
    files = f"{SYNONYMS_TABLE} or {BACKGROUND_TABLE}"

    @override
    def inputs_of(self, inputs: RunInputs, candidate: str) -> RunInputs:
        """Return inputs whose vocabulary has a single text: a class with this word as its name."""
        vocabulary = Vocabulary(classes=(ClassEntry(name=candidate),))
        return replace(inputs.with_prompts(fusion="sentence", background=False), vocabulary=vocabulary)


class WordTexts(CandidateTexts):
    """Does the work of `Texts` for each word, with one shard per word, as if the word were a vocabulary's only class.

    A ranking with further words therefore encodes only these, whatever the vocabulary says.
    """

    name = "word_texts"
    ranking = RankingOfWords


WORD_TEXTS = WordTexts()
