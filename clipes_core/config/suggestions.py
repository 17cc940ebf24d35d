"""Find the config key that an unknown key may stand for."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from clipes_core.config.section import Section

LEAST_SIMILARITY = 0.7  # of two names, as difflib measures it


def similar_key(section: type[Section], unknown: Sequence[str]) -> str | None:
    """Return the key that is most similar to an unknown key: in its own section, or of the same name in another one.

    Args:
        section: class of the section that the keys belong to.
        unknown: parts of the unknown key, such as ("cam", "pover").

    Returns:
        The dotted key; None if no key is similar.
    """
    keys = list(_keys(section))
    *place, name = unknown
    siblings = {key[-1]: key for key in keys if [*key[:-1]] == place}
    for similar in get_close_matches(name, siblings, n=1, cutoff=LEAST_SIMILARITY):
        return ".".join(siblings[similar])
    same_name = [key for key in keys if key[-1] == name]
    return ".".join(same_name[0]) if len(same_name) == 1 else None


def _keys(section: type[Section], place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the parts of all keys of a section, also those of its sections."""
    for name, field in section.model_fields.items():
        yield (*place, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _keys(field.annotation, (*place, name))
