"""The stage `word_texts`: the text features of words that a ranking compares."""

from typing import Any

from typing_extensions import override

from clipes.tasks.plan.row_kinds import WORD_TEXT_ROWS
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage_keys import key_without_upstream
from clipes.tasks.stages.texts import TEXTS, Texts


class WordTexts(Texts):
    """Does the work of `Texts` for each word, with one shard per word, as if the word were a vocabulary's only class.

    A ranking with further words therefore encodes only these, whatever the vocabulary says.
    """

    name, kind, stored_as = "word_texts", WORD_TEXT_ROWS, TEXTS
    ranks_words = True

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any] | None:
        if not inputs.words or not inputs.config.prompts.templates:
            return None
        return {TEXTS.name: [key_without_upstream(TEXTS, inputs.with_word(word)) for word in inputs.words]}


WORD_TEXTS = WordTexts()
