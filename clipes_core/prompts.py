"""Texts: sentences for the classes, synonym fusion, and the sharpness of a template."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from clipes_core.config.run import PromptsConfig
from clipes_core.errors import PromptError
from clipes_core.text_features import BACKGROUND_ID
from clipes_core.vocabulary import Vocabulary

Tokenizer = Callable[..., torch.Tensor]  # OpenCLIP's; arguments: texts, and a context length other than CLIP's


@dataclass(frozen=True)
class Text:
    """The source of one text feature.

    Attributes:
        class_id: data set id 1..K, or 0 for a background word.
        name: the class's name, or the background word.
        phrases: the words whose features are averaged: one phrase, or the synonyms of feature fusion.
    """

    class_id: int
    name: str
    phrases: tuple[str, ...]


def vocabulary_texts(vocabulary: Vocabulary, config: PromptsConfig) -> tuple[Text, ...]:
    """List the text features a vocabulary needs: classes by id, then background words.

    Source: CLIP-ES sec. 3.2 (synonym fusion at the level of sentence, feature or CAM), 3.1 (background).
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
    """Insert a phrase into each template at its {}."""
    return [template.replace("{}", phrase) for template in templates]


@torch.no_grad()
def text_feature(clip: Any, tokenizer: Tokenizer, phrases: Sequence[str], templates: Sequence[str]) -> torch.Tensor:
    """Encode phrases in all templates and average the features.

    Args:
        clip: an OpenCLIP model.
        tokenizer: function of a list of N texts, and of a context length if it is not CLIP's; returns
            (N, context length) int64, padded with zeros.
        phrases: at least one. Features are averaged over the templates, then over the phrases.
        templates: at least one; each contains {}.

    Returns:
        (D,) float32, L2-normalised after each average.

    Raises:
        PromptError: a sentence has more tokens than CLIP reads.

    Source: CLIP-ES sec. 3.2.
    """
    means = []
    for phrase in phrases:
        texts = sentences(phrase, templates)
        tokens = checked_tokens(tokenizer, texts)
        device = next(clip.parameters()).device
        features = clip.encode_text(tokens.to(device), normalize=True).float()
        means.append(_unit(features.mean(dim=0)))
    return _unit(torch.stack(means).mean(dim=0))


def checked_tokens(tokenizer: Tokenizer, texts: list[str]) -> torch.Tensor:
    """Tokenize texts, and refuse a text that the tokenizer would truncate.

    Raises:
        PromptError: a text has more tokens than CLIP reads; the message names the text and the limit.
    """
    tokens = tokenizer(texts)
    context_length = tokens.shape[1]
    # The tokenizer truncates silently. With one more token, only a text that was truncated fills the last place.
    for text, row in zip(texts, tokenizer(texts, context_length + 1), strict=True):
        if row[-1] != 0:
            raise PromptError(f"{text!r} has more than the {context_length} tokens that CLIP reads: shorten it")
    return tokens


def sharpness(scores: Iterable[np.ndarray]) -> np.ndarray:
    """Compute the sharpness of templates: how unevenly each scores the classes present in a photo; lower is better.

    Args:
        scores: per photo the (T, K) softmax scores of T templates and the K classes present, with the softmax over
            these classes and the background words. The function reads them one by one and does not keep them. Photos
            without classes do not count.

    Returns:
        (T,) float64: sum over photos of the variance of a photo's scores / sum over photos of their mean. The variance
        is the population variance, so a photo with one class adds 0 to the numerator and its score to the denominator.

    Raises:
        ValueError: no photo has a class.

    Source: CLIP-ES sec. 3.2, eq. (5). The authors' code for it is lost: the population variance and the softmax over
    present classes and background words are our choices.
    """
    variance, mean, photos = np.zeros(1), np.zeros(1), 0
    for photo in scores:
        if photo.shape[-1]:
            photos += 1
            exact = np.asarray(photo, dtype=np.float64)
            variance, mean = variance + exact.var(axis=-1), mean + exact.mean(axis=-1)
    if not photos:
        raise ValueError("sharpness needs at least one photo with a class, got none")
    return variance / mean


def _unit(vector: torch.Tensor) -> torch.Tensor:
    return vector / vector.norm()
