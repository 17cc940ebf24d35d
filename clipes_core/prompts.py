"""The texts: sentences for the classes, synonym fusion, and the sharpness of a template."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from clipes_core.config.run import PromptsConfig
from clipes_core.errors import PromptError
from clipes_core.text_features import BACKGROUND_ID
from clipes_core.vocabulary import Vocabulary

Tokenizer = Callable[..., torch.Tensor]  # OpenCLIP's: texts, and a context length unless it is CLIP's


@dataclass(frozen=True)
class Text:
    """What one text feature is made of.

    Attributes:
        class_id: data set id 1..K, or 0 for a background word.
        name: the class's name, or the background word.
        phrases: the words whose features are averaged: one, or the synonyms of feature fusion.
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
    """Put a phrase into each template, at its {}."""
    return [template.replace("{}", phrase) for template in templates]


@torch.no_grad()
def text_feature(clip: Any, tokenizer: Tokenizer, phrases: Sequence[str], templates: Sequence[str]) -> torch.Tensor:
    """Encode phrases in all templates and average.

    Args:
        clip: an OpenCLIP model.
        tokenizer: list of N texts, and a context length unless it is CLIP's -> (N, context length) int64,
            padded with zeros.
        phrases: at least one; each is averaged over the templates, then over the phrases.
        templates: at least one, with {} in each.

    Returns:
        (D,) float32, L2-normalised after each average.

    Raises:
        PromptError: a sentence is longer than CLIP reads.

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
    """Tokenize, and refuse a text that would lose its end.

    Raises:
        PromptError: names the text and CLIP's limit.
    """
    tokens = tokenizer(texts)
    context_length = tokens.shape[1]
    # The tokenizer cuts in silence; with one place more, only a text that is cut reaches the last place.
    for text, row in zip(texts, tokenizer(texts, context_length + 1), strict=True):
        if row[-1] != 0:
            raise PromptError(f"{text!r} has more than the {context_length} tokens that CLIP reads: shorten it")
    return tokens


def sharpness(scores: Iterable[np.ndarray]) -> np.ndarray:
    """How unevenly templates score the classes present in a photo; lower is better.

    Args:
        scores: per photo (T, K) softmax scores of T templates and the K classes present, the softmax taken over
            them and the background words; taken one by one and not kept. Photos without classes do not count.

    Returns:
        (T,) float64: sum over photos of the variance of a photo's scores / sum over photos of their mean;
        the population variance, so a photo with one class adds 0 above and its score below.

    Raises:
        ValueError: no photo has a class.

    Source: CLIP-ES sec. 3.2, eq. (5). The authors' code for it is lost: population variance and
    the softmax over present classes and background are choices made here.
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
