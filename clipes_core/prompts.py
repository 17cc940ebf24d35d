"""Build the sentences that CLIP reads for each class, fuse synonyms, and compute text features."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol

from clipes_core.config.pseudo_masks import PromptsConfig
from clipes_core.errors import ConfigError, PromptError, WeightsError
from clipes_core.finite import OF_CLIP, is_finite
from clipes_core.text_features import BACKGROUND_ID
from clipes_core.vocabulary import Vocabulary

if TYPE_CHECKING:
    import torch


class Tokenizer(Protocol):
    """Turns texts into the tokens that a text network reads."""

    context_length: int

    def __call__(self, texts: Sequence[str]) -> "torch.Tensor":
        """Return (number of texts, context_length) int64 tokens. Short texts are padded, and long ones truncated."""

    def count(self, text: str) -> int:
        """Return the number of tokens of a text, without padding or truncation."""


@dataclass(frozen=True)
class Text:
    """The phrases from which one text feature is computed.

    Attributes:
        class_id: id of the class, 1..K; 0 for a background word.
        name: name of the class, or the background word.
        phrases: phrases whose features are averaged. With feature fusion (`prompts.fusion` is `feature`), a class has
            one phrase per synonym. In all other cases, there is only one phrase.
    """

    class_id: int
    name: str
    phrases: tuple[str, ...]


def chosen_words(vocabulary: Vocabulary, config: PromptsConfig) -> Vocabulary:
    """Apply `prompts.leave_out` and `prompts.names` to a vocabulary, and return the result.

    Raises:
        ConfigError: none of the words to leave out is a background word, or a name is not that of a class.
    """
    left_out, named = set(config.leave_out), _named_classes(vocabulary, config)
    background = tuple(word for word in vocabulary.background_words if word not in left_out)
    if left_out and len(background) == len(vocabulary.background_words):
        raise ConfigError(
            f"prompts.leave_out: {', '.join(unknown_words(vocabulary, config))}: "
            f"the vocabulary has no such background words; it has: {', '.join(vocabulary.background_words) or 'none'}"
        )
    classes = tuple(
        entry.model_copy(update={"words": None, "synonyms": ()}) if entry.name in named else entry
        for entry in vocabulary.classes
    )
    return vocabulary.model_copy(update={"classes": classes, "background_words": background})


def unknown_words(vocabulary: Vocabulary, config: PromptsConfig) -> tuple[str, ...]:
    """Return the words of `prompts.leave_out` that are no background words, each with the word that it may stand for.

    For example, the text of a misspelt word is "watre (did you mean water?)".
    """
    remaining = [word for word in vocabulary.background_words if word not in config.leave_out]
    unknown = [word for word in config.leave_out if word not in vocabulary.background_words]
    hints = [get_close_matches(word, remaining, n=1) for word in unknown]
    return tuple(
        f"{word} (did you mean {hint[0]}?)" if hint else word for word, hint in zip(unknown, hints, strict=True)
    )


def _named_classes(vocabulary: Vocabulary, config: PromptsConfig) -> set[str]:
    """Return the classes whose name CLIP reads instead of their words and synonyms."""
    if isinstance(config.names, bool):
        return set(vocabulary.ids) if config.names else set()
    if unknown := [name for name in config.names if name not in vocabulary.ids]:
        raise ConfigError(
            f"prompts.names: {', '.join(unknown)}: the vocabulary has no such class; "
            f"it has: {', '.join(vocabulary.ids)}"
        )
    return set(config.names)


def vocabulary_texts(vocabulary: Vocabulary, config: PromptsConfig) -> tuple[Text, ...]:
    """Return the texts of the classes in the order of the class ids, followed by one text per background word.

    Without `prompts.background`, the background words are left out.

    Source: CLIP-ES sec. 3.1 for background words; sec. 3.2 for the fusion of synonyms in the sentence, the text feature
    or the CAM.
    """
    texts: list[Text] = []
    for class_id, entry in enumerate(vocabulary.classes, start=1):
        if config.fusion == "sentence":
            texts.append(Text(class_id, entry.name, (entry.sentence_words,)))
        elif config.fusion == "feature":
            texts.append(Text(class_id, entry.name, entry.separate_words))
        else:
            texts.extend(Text(class_id, entry.name, (word,)) for word in entry.separate_words)
    if config.background:
        texts.extend(Text(BACKGROUND_ID, word, (word,)) for word in vocabulary.background_words)
    return tuple(texts)


def sentences(phrase: str, templates: Sequence[str]) -> list[str]:
    """Return one sentence per template: the template with the phrase in place of {}."""
    return [template.replace("{}", phrase) for template in templates]


def text_feature(clip: Any, tokenizer: Tokenizer, phrases: Sequence[str], templates: Sequence[str]) -> "torch.Tensor":
    """Insert each phrase into each template, encode the sentences, and average their features.

    Args:
        clip: an OpenCLIP model.
        tokenizer: tokenizer of the model's text network.
        phrases: one or more phrases. The features of each phrase are first averaged over the templates. The resulting
            features are then averaged over the phrases.
        templates: one or more templates, each of which contains {}.

    Returns:
        (D,) float32. Each of the two averages is followed by an L2 normalisation.

    Raises:
        PromptError: a sentence has more tokens than CLIP reads.
        WeightsError: the result contains NaN or infinity.

    Source: CLIP-ES sec. 3.2.
    """
    import torch  # imported here, so that planning a run, which only counts the texts, does not take seconds

    means = []
    with torch.no_grad():
        for phrase in phrases:
            texts = sentences(phrase, templates)
            tokens = checked_tokens(tokenizer, texts)
            device = next(clip.parameters()).device
            features = clip.encode_text(tokens.to(device), normalize=True).float()
            means.append(_unit(features.mean(dim=0)))
        fused = _unit(torch.stack(means).mean(dim=0))
    if not is_finite(fused):
        raise WeightsError(f"the text feature of {phrases[0]!r} contains NaN or infinity. Likely causes: {OF_CLIP}")
    return fused


def checked_tokens(tokenizer: Tokenizer, texts: list[str]) -> "torch.Tensor":
    """Tokenize texts, and refuse a text that the tokenizer would truncate.

    Returns:
        (texts, context_length) int64 token ids.

    Raises:
        PromptError: a text has more tokens than CLIP reads. The message contains the text and the limit.
    """
    limit = tokenizer.context_length
    for text in texts:
        if tokenizer.count(text) > limit:
            raise PromptError(f"{text!r} has more than the {limit} tokens that CLIP reads: shorten it")
    return tokenizer(texts)


def _unit(vector: "torch.Tensor") -> "torch.Tensor":
    return vector / vector.norm()
