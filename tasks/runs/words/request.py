"""What a ranking of words compares, and its checks against the data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from clipes.tasks.inputs.datasets.listing import Listing
from clipes_core.config.run import RunConfig
from clipes_core.config.suggestions import LEAST_SIMILARITY
from clipes_core.errors import ConfigError, DatasetError
from clipes_core.vocabulary import Vocabulary

SHOWN_CLASSES = 30
Source = Literal["vocabulary", "own list", "clipes", "wordnet"]


@dataclass(frozen=True)
class Candidate:
    """A word that may stand for a class.

    Attributes:
        class_name: name of the class in the vocabulary.
        word: one or more words that CLIP reads in place of the class.
        source: where the word is from.
        sense: meaning of the word according to WordNet; empty if it is unknown.
    """

    class_name: str
    word: str
    source: Source
    sense: str = ""


@dataclass(frozen=True)
class WordRequest:
    """What to rank: candidates for classes, or background words for all classes; the other one is empty.

    Attributes:
        candidates: candidates, grouped by class. The same word may occur for several classes.
        background: background words, each once.
    """

    candidates: tuple[Candidate, ...] = ()
    background: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """All words, each once."""
        return tuple(dict.fromkeys([*(each.word for each in self.candidates), *self.background]))

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the candidates, each once."""
        return tuple(dict.fromkeys(each.class_name for each in self.candidates))


def check_classes(vocabulary: Vocabulary, names: Sequence[str]) -> None:
    """Check that the vocabulary has classes with these names.

    Raises:
        ConfigError: it has no class of a name. The message names a similar class, or all classes if there are few.
    """
    for name in names:
        if name in vocabulary.ids:
            continue
        similar = get_close_matches(name, vocabulary.ids, n=1, cutoff=LEAST_SIMILARITY)
        known = list(vocabulary.ids)[:SHOWN_CLASSES]
        others = ", ..." if len(vocabulary.ids) > SHOWN_CLASSES else ""
        advice = f"did you mean {similar[0]}?" if similar else f"the classes are: {', '.join(known)}{others}"
        raise ConfigError(f"the vocabulary has no class {name!r}; {advice}")


def check_template(config: RunConfig) -> None:
    """Check that the config names the template into which the words are inserted.

    Raises:
        ConfigError: prompts.template is auto.
    """
    if not config.prompts.templates:
        raise ConfigError(
            "prompts.template is auto, but a ranking of words needs one template: run clipes prompts, "
            "and set prompts.template to the best template"
        )


def check_shown(listing: Listing, vocabulary: Vocabulary, names: Sequence[str]) -> None:
    """Check that each class has a photo whose label it is.

    Raises:
        DatasetError: no photo has the label. The message lists all such classes.
    """
    shown = {class_id for photo in listing.photos for class_id in photo.class_ids}
    missing = [name for name in names if vocabulary.ids[name] not in shown]
    if missing:
        raise DatasetError(
            f"none of the {len(listing.photos)} photos has the label {' or '.join(missing)}, and words are ranked by "
            "the photos of their class: leave the class out, or name a data set or split that has photos of it"
        )
