"""Write the page docs/config.md, which lists all settings, from the models of the config."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from clipes.tasks.inputs.config_text.written import plain, value_yaml
from clipes.tasks.inputs.datasets.formats import FORMATS
from clipes_core.config.run import RunConfig
from clipes_core.config.section import Section
from clipes_core.vocabulary import ClassEntry, Vocabulary

HEAD = """\
# All settings

A config is a YAML file with these keys. `name` must be set; every other key has a default. To set a key for one
command, write `--set section.key=value`. `clipes config CONFIG` prints the keys that a config states, and their
defaults. `clipes config CONFIG --resolved` prints all keys, with absolute paths, as a config that `clipes run` accepts.

[Relative paths](own-data.md#relative-paths) are looked up in the working directory and next to the config. The
equations, sections and tables that this page names are those of the paper
[CLIP is Also an Efficient Segmenter](https://arxiv.org/abs/2212.09506) (CLIP-ES).

This page is generated. To write it again, run `clipes config --reference > docs/config.md`.
"""
RUNNERS = "The keys of the runner `ray` are in [the settings of a Ray cluster](cluster.md#settings)."
VOCABULARY = """\
## The vocabulary

`dataset.classes` may be the path of a YAML file with the keys `classes` and `background_words`; see
[The vocabulary](own-data.md#the-vocabulary).
"""
COLUMNS = "| key | values | default | meaning |\n|---|---|---|---|"
BOUNDS = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}"}
LARGEST_DECIMAL = 1 << 30
WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}


def reference_page() -> str:
    """Return the page in Markdown."""
    return "\n".join(_parts()) + "\n"


def _parts() -> Iterator[str]:
    yield HEAD
    schema = RunConfig.model_json_schema()
    yield COLUMNS
    sections: dict[str, type[Section]] = {}
    for name, field in RunConfig.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            sections[name] = field.annotation
        else:
            yield _row(name, schema["properties"][name], schema, RunConfig)
    for name, section in sections.items():
        yield f"\n## {name}\n\n{_first_paragraph(section)}\n\n{COLUMNS}"
        yield from _rows(section, "")
        if name == "execution":
            yield f"\n{RUNNERS}"
    yield f"\n{VOCABULARY}\n{COLUMNS}"
    yield from _rows(Vocabulary, "")
    yield f"\nEach entry of `classes` has these keys:\n\n{COLUMNS}"
    yield from _rows(ClassEntry, "")


def _rows(section: type[Section], prefix: str) -> Iterator[str]:
    """Yield a row for each setting of a section, also for those of its sections."""
    schema = section.model_json_schema()
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _rows(field.annotation, f"{prefix}{name}.")
        else:
            yield _row(f"{prefix}{name}", schema["properties"][name], schema, section)


def _row(key: str, values: Mapping[str, Any], schema: Mapping[str, Any], section: type[Section]) -> str:
    field = section.model_fields[key.rpartition(".")[2]]
    default = "must be set" if field.is_required() else f"`{value_yaml(plain(field.get_default()))}`"
    kinds = _choices(FORMATS) if key == "format" else _kinds(values, schema)
    cells = (f"`{key}`", kinds, default, field.description or "")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _kinds(values: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return the values that a setting accepts, in words."""
    if "$ref" in values:
        return f"`{values['$ref'].rpartition('/')[2]}`"
    if "anyOf" in values:
        return ", or ".join(_kinds(each, schema) for each in values["anyOf"])
    if "enum" in values:
        return _choices(values["enum"])
    if "const" in values:
        return f"`{values['const']}`"
    if values.get("type") == "array":
        return (
            f"list of {_kinds(values['items'], schema)}"
            if "items" in values
            else f"{len(values['prefixItems'])} numbers"
        )
    bounds = [bound.format(_number(values[name])) for name, bound in BOUNDS.items() if name in values]
    return " ".join([WORDS[values["type"]], *bounds])


def _number(value: float) -> str:
    """Return a bound in decimal or, if it is a large power of two, as a power."""
    power = math.log2(value) if value > LARGEST_DECIMAL else 0.5
    return f"2^{power:.0f}" if power.is_integer() else f"{value:,}"


def _choices(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _first_paragraph(section: type[Section]) -> str:
    return " ".join((section.__doc__ or "").partition("\n\n")[0].split())
