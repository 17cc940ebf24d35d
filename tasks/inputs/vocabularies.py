"""Read a class vocabulary by its name if clipes ships it, and otherwise by its path or URI."""

import yaml
from pydantic import ValidationError

from clipes.tasks.machine.shipped_files import CLASSES
from clipes.tasks.storage.user_files import absolute, read_text
from clipes_core.errors import ConfigError, DatasetError
from clipes_core.vocabulary import Vocabulary


def load_vocabulary(name_or_path: str) -> Vocabulary:
    """Read the vocabulary of a data set.

    Args:
        name_or_path: name of a file in configs/classes without its extension, or the path or URI of a YAML file. The
            file has the keys `background_words` and `classes`. The classes are in the order of their ids, and each has
            a name, words, synonyms, aliases and a colour.

    Raises:
        ConfigError: the vocabulary does not exist, is not YAML, or has invalid values. The message has one line for
            each invalid value.
    """
    named = "/" not in name_or_path and not name_or_path.endswith((".yaml", ".yml"))
    place = str(CLASSES / f"{name_or_path}.yaml") if named else absolute(name_or_path)
    try:
        values = yaml.safe_load(read_text(place))
        return Vocabulary.model_validate(values)
    except FileNotFoundError as exc:
        raise ConfigError(f"dataset.classes: no vocabulary {name_or_path!r} at {place}; {_known()}") from exc
    except DatasetError as exc:
        raise ConfigError(f"dataset.classes: {exc}") from exc
    except ValidationError as exc:
        raise ConfigError("\n".join(f"dataset.classes: {place}: {line}" for line in _lines(exc))) from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:  # such as an impossible date, or deep nesting
        raise ConfigError(f"dataset.classes: {place} is not YAML: {' '.join(str(exc).split())}") from exc


def _known() -> str:
    names = ", ".join(sorted(path.stem for path in CLASSES.glob("*.yaml")))
    return f"known names: {names}; choose one, or give the path or URI of a YAML file"


def _lines(error: ValidationError) -> list[str]:
    return [f"{_key(fault['loc'])}{_message(fault['type'], fault['msg'], fault['input'])}" for fault in error.errors()]


def _key(place: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, place))}: " if place else ""


def _message(kind: str, message: str, given: object) -> str:
    if kind == "extra_forbidden":
        return "unknown key"
    if kind == "missing":
        return "must be set"
    return message.removeprefix("Value error, ") if kind == "value_error" else f"{message} (got {given!r})"
