"""Read a class vocabulary by its name if clipes ships it, and otherwise by its path or URI."""

import logging
from collections.abc import Iterator

import yaml
from pydantic import ValidationError

from clipes.tasks.inputs.config_text.written import item_yaml
from clipes.tasks.inputs.config_text.yaml_text import check_yaml
from clipes.tasks.machine.shipped_files import CLASSES
from clipes.tasks.storage.user_files import absolute, read_text
from clipes_core.config.section import LONGEST_TEXT
from clipes_core.errors import ConfigError, DatasetError
from clipes_core.vocabulary import Vocabulary

BACKGROUND = "background"
DEFAULT = "voc12"

# pydantic's type of error -> message
COMPLETE = {
    "extra_forbidden": "unknown key",
    "missing": "must be set",
    "string_too_short": "must not be empty",
    "string_too_long": f"must have at most {LONGEST_TEXT} characters",
}
EXPECTED = {
    "model_type": "expected keys and values, such as {name: dog} for a class",
    "string_type": "expected text (quote numbers, dates and words such as yes)",
    "tuple_type": "expected a list",
    "too_long": "expected three numbers from 0 to 255",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "greater_than_equal": "expected a number from 0 to 255",
    "less_than_equal": "expected a number from 0 to 255",
    "invalid_key": "expected text as key",
}
NO_KEYS = "expected the key classes with a list of classes such as {name: dog}, and the key background_words"
MOST_SHOWN = 80  # characters

logger = logging.getLogger(__name__)


def load_vocabulary(source: str | tuple[str, ...]) -> Vocabulary:
    """Read the vocabulary of a data set.

    Args:
        source: name of a file in configs/classes without its extension, or the path or URI of a YAML file. The file has
            the keys `background_words` and `classes`. The classes are in the order of their ids, and each has a name,
            words, synonyms, aliases and a colour. A tuple holds the names of the classes instead; their background
            words are those of VOC.

    Raises:
        ConfigError: the vocabulary does not exist, is not YAML, or has invalid values, a class named `background` or
            two classes with the same words. The message has one line for each invalid value or class.
    """
    place = _place(source) if isinstance(source, str) else "the list"
    try:
        vocabulary = _read(place) if isinstance(source, str) else _of_names(source)
    except FileNotFoundError as exc:
        raise ConfigError(f"dataset.classes: no vocabulary {source!r} at {place}; {_known()}") from exc
    except DatasetError as exc:
        raise ConfigError(f"dataset.classes: {exc}") from exc
    except ValidationError as exc:
        raise ConfigError("\n".join(f"dataset.classes: {place}: {line}" for line in _lines(exc))) from exc
    except (yaml.YAMLError, ValueError) as exc:  # such as an impossible date
        raise ConfigError(f"dataset.classes: {place} cannot be read as YAML: {' '.join(str(exc).split())}") from exc
    _check_classes(vocabulary, place)
    return vocabulary


def _place(source: str) -> str:
    named = "/" not in source and not source.endswith((".yaml", ".yml"))
    return str(CLASSES / f"{source}.yaml") if named else absolute(source)


def _of_names(names: tuple[str, ...]) -> Vocabulary:
    folded = {_folded(name) for name in names}
    background = [word for word in load_vocabulary(DEFAULT).background_words if word not in folded]
    return Vocabulary.model_validate({"classes": [{"name": name} for name in names], "background_words": background})


def _read(place: str) -> Vocabulary:
    text = read_text(place)
    check_yaml(text)
    values = yaml.safe_load(text)
    if not isinstance(values, dict):
        raise ConfigError(f"dataset.classes: {place}: {NO_KEYS}, got {_as_yaml(values)}")
    return Vocabulary.model_validate(values)


def _check_classes(vocabulary: Vocabulary, place: str) -> None:
    """Check that CLIP can tell the classes from each other and from the background.

    Raises:
        ConfigError: a class is the background, or CLIP reads the same words for two classes. The message has one line
            for each such class.
    """
    problems = [*_background_classes(vocabulary), *_classes_with_equal_words(vocabulary)]
    if problems:
        raise ConfigError("\n".join(f"dataset.classes: {place}: {problem}" for problem in problems))
    words = {_folded(entry.sentence_words) for entry in vocabulary.classes}
    both = [word for word in vocabulary.background_words if _folded(word) in words]
    if both:
        logger.warning("%s: the background_words contain words of classes: %s; delete them", place, ", ".join(both))


def _background_classes(vocabulary: Vocabulary) -> Iterator[str]:
    for entry in vocabulary.classes:
        for name in (entry.name, *entry.aliases):
            if _folded(name) == BACKGROUND:
                yield f"the background must not be a class, because each mask has it as id 0: delete {name!r}"


def _classes_with_equal_words(vocabulary: Vocabulary) -> Iterator[str]:
    first: dict[str, str] = {}
    for entry in vocabulary.classes:
        other = first.setdefault(_folded(entry.sentence_words), entry.name)
        if other != entry.name:
            yield f"{other!r} and {entry.name!r} have the same words, {entry.sentence_words!r}: change the words of one"


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _known() -> str:
    names = ", ".join(sorted(path.stem for path in CLASSES.glob("*.yaml")))
    return f"known names: {names}; choose one, or give the path or URI of a YAML file"


def _lines(error: ValidationError) -> list[str]:
    return [f"{_key(fault['loc'])}{_message(fault['type'], fault['msg'], fault['input'])}" for fault in error.errors()]


def _key(place: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, place))}: " if place else ""


def _message(kind: str, message: str, given: object) -> str:
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind in COMPLETE:
        return COMPLETE[kind]
    return f"{EXPECTED.get(kind, message)}, got {_as_yaml(given)}"


def _as_yaml(value: object) -> str:
    """Return a value as a YAML file spells it; of a long value, return the start."""
    text = item_yaml(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
