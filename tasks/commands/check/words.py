"""Check that CLIP can read the prompts of a config completely."""

from collections.abc import Iterator, Sequence

from clipes.tasks.commands.finding import Finding
from clipes.tasks.inputs.templates import shipped_templates
from clipes.tasks.models.clip import context_length
from clipes.tasks.models.clip_architecture import named_architecture
from clipes.tasks.models.clip_models.tokenizers import open_tokenizer
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.config.run import RunConfig
from clipes_core.prompts import sentences, vocabulary_texts
from clipes_core.vocabulary import Vocabulary

SHOWN_WORDS = 5
MARKS = 3  # most tokens that a tokenizer adds to a text: a start, an end, and a blank before the first word


def check_words(config: RunConfig, vocabulary: Vocabulary) -> Iterator[Finding]:
    """Name the words whose prompts have more tokens than CLIP reads.

    Raises:
        WeightsError: there is no CLIP of the name `clip.model`, or its tokenizer is missing.
    """
    limit = context_length(config.clip.model)
    templates = config.prompts.templates or shipped_templates()
    texts = vocabulary_texts(vocabulary, config.prompts)
    words = {
        sentence: text.name for text in texts for phrase in text.phrases for sentence in sentences(phrase, templates)
    }
    counts = token_counts(list(words), limit, config.clip)
    too_long = [sentence for sentence, count in counts.items() if count > limit]
    if not too_long:
        yield Finding(
            "prompt lengths", True, f"CLIP can read all {len(words)} prompts: they have at most {limit} tokens"
        )
        return
    named = "\n".join(f"{words[each]}: {counts[each]} tokens in {each!r}" for each in too_long[:SHOWN_WORDS])
    yield Finding(
        "prompt lengths",
        False,
        f"{len(too_long)} of {len(words)} prompts have more than the {limit} tokens that CLIP reads: shorten the words "
        f"or prompts.template, or list the words as synonyms and set prompts.fusion=feature\n{named}",
    )


def token_counts(texts: Sequence[str], limit: int, clip: ClipConfig) -> dict[str, int]:
    """Return the number of tokens of each text that may have more than `limit` tokens.

    A token stands for at least one byte. The tokenizer, whose import takes seconds, is used only for longer texts, and
    for those that it may lengthen because they are not ASCII.
    """
    unclear = [text for text in texts if not text.isascii() or len(text) + MARKS > limit]
    if not unclear:
        return {}
    tokenizer = open_tokenizer(clip, named_architecture(clip.model)["text_cfg"])
    return {text: tokenizer.count(text) for text in unclear}
