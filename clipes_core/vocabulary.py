"""The classes of a data set: ids, names, the words that CLIP reads, and colours."""

from collections import Counter
from functools import cache
from typing import Annotated, Self

from pydantic import Field, model_validator

from clipes_core.config.section import Section

MAX_CLASSES = 254  # ids are 8-bit in masks: 0 is background, 255 is ignored

Channel = Annotated[int, Field(ge=0, le=255)]


class ClassEntry(Section):
    """A class. Its class id is its position in the vocabulary, counted from 1."""

    name: str = Field(min_length=1, description="Name of the class, as the labels spell it.")
    words: str | None = Field(
        None, min_length=1, description="Text that CLIP reads for the class; may contain synonyms. null: the name."
    )
    synonyms: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="Texts for feature fusion and CAM fusion, one per synonym. empty: a single text, which is `words` "
        "or, if `words` is null, the name.",
    )
    aliases: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="Other names that list files (CSV) or COCO's annotation files may use for the class."
    )
    colour: tuple[Channel, Channel, Channel] | None = Field(
        None, description="RGB colour in masks; null: the colour of the class id in VOC's colour map."
    )

    @property
    def sentence_words(self) -> str:
        """Return the class words for sentence fusion: one text with all synonyms."""
        return self.words or self.name

    @property
    def separate_words(self) -> tuple[str, ...]:
        """Return the class words for feature and CAM fusion: the synonyms, or `sentence_words` if there are none."""
        return self.synonyms or (self.sentence_words,)


class Vocabulary(Section):
    """The classes 1..K and the background words of a data set."""

    classes: tuple[ClassEntry, ...] = Field(
        description="The classes, in the order of their ids: the first one has id 1. At most 254."
    )
    background_words: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="Words for what surrounds the classes. They compete with the classes in the softmax. Needed if "
        "`cam.softmax` and `prompts.background` are true.",
    )

    @model_validator(mode="after")
    def _ids_fit_and_names_differ(self) -> Self:
        if not self.classes:  # not a bound of the field, because pydantic does not count entries with wrong values
            raise ValueError("got no classes, but at least one is needed")
        if len(self.classes) > MAX_CLASSES:
            raise ValueError(f"got {len(self.classes)} classes, but the 8-bit ids of masks allow at most {MAX_CLASSES}")
        names = Counter(name for entry in self.classes for name in (entry.name, *entry.aliases))
        twice = sorted(name for name, times in names.items() if times > 1)
        if twice:
            raise ValueError(
                f"class names and aliases must be unique, but these occur more than once: {', '.join(twice)}"
            )
        return self

    @property
    def ids(self) -> dict[str, int]:
        """Map each class name to its class id, 1..K."""
        return {entry.name: class_id for class_id, entry in enumerate(self.classes, start=1)}

    @property
    def known_names(self) -> dict[str, int]:
        """Map each class name and each alias to the id of the class."""
        return self.ids | {alias: self.ids[entry.name] for entry in self.classes for alias in entry.aliases}

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Return 256 RGB colours, one per id. An id without a colour in the vocabulary has VOC's colour."""
        colours = [_voc_colour(class_id) for class_id in range(256)]
        for class_id, entry in enumerate(self.classes, start=1):
            colours[class_id] = entry.colour or colours[class_id]
        return tuple(colours)


@cache
def _voc_colour(class_id: int) -> tuple[int, int, int]:
    """Compute the colour that the VOC development kit gives to an id.

    The kit splits the id into groups of three bits, starting with the lowest bits. The three bits of the first
    group become the highest bits of R, G and B. The second group becomes their second-highest bits, and so on.
    """
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (class_id >> (3 * place + channel) & 1) << (7 - place)
    return channels[0], channels[1], channels[2]
