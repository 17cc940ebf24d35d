"""Give every setting values that no setting can have, and values at the edge of what it can have."""

import json

import pytest

from clipes.tasks.inputs.configs import resolve_config
from clipes_core.config.execution import RunnerConfig
from clipes_core.config.run import RunConfig, parse_config
from clipes_core.config.section import Section
from clipes_core.errors import ConfigError

HOSTILE = [
    *[0, -1, 1, 0.5, -0.0, 5e-324, 1e-9, 31, 33, 1e6, 2**31, 2**32, 2**63, 2**64, 10**30, 1e308],
    *[float("nan"), float("inf"), float("-inf"), "nan", "1e999"],
    *[
        "",
        " ",
        "null",
        "none",
        "auto",
        "true",
        "1",
        " 1 ",
        "1_0",
        "0x10",
        "۱",
        "x" * 5000,
        "~",
        "~nobody-here/x",
    ],
    *[
        "a\0b",
        "a\nb",
        "\x1b[31m",
        "a\udc80",
        "../x",
        "/",
        "..",
        "a.",
        "con",
        "{}",
        "[x]",
        "a #b",
        "s3:/b",
        "S3://b",
    ],
    *[None, True, False, b"x", [], [[]], [None], [0], ["a {}."], ["x"] * 17, {}, {"x": 1}, {1}, object, 1j],
]
BASE = {"name": "a", "dataset": {"format": "list"}}


def sections_of(section: type[Section]) -> list[type[Section]]:
    """Return a section and all sections inside of it."""
    inner = [field.annotation for field in section.model_fields.values()]
    nested = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, Section)]
    return [section, *(each for kind in nested for each in sections_of(kind))]


def settings(section: type[Section] = RunConfig, where: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the path of every setting, and of every section."""
    found = []
    for name, field in section.model_fields.items():
        found.append((*where, name))
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found += settings(field.annotation, (*where, name))
    return found


def with_value(path: tuple[str, ...], value: object) -> dict:
    """Return a config in which only one setting differs from the defaults."""
    values = json.loads(json.dumps(BASE))
    inner = values
    for part in path[:-1]:
        inner = inner.setdefault(part, {})
    inner[path[-1]] = value
    return values


def refusal(function, argument) -> str:
    """Return the message of the ConfigError that a function raises, or `accepted`."""
    try:
        function(argument)
    except ConfigError as error:
        return str(error)
    return "accepted"


@pytest.mark.parametrize("path", settings(), ids=".".join)
def test_a_hostile_value_gives_a_valid_config_or_an_error_that_names_the_setting(path):
    key = ".".join(path)
    for value in HOSTILE:
        values = with_value(path, value)
        refused = refusal(parse_config, values)
        assert all(line.startswith((key, "accepted")) for line in refused.splitlines()), value
        if refused != "accepted":
            continue
        config = parse_config(values)
        assert parse_config(json.loads(json.dumps(config.model_dump(mode="json"), allow_nan=False))) == config
        assert refusal(resolve_config, config).startswith((key, "accepted")), value


def numbers(schema: dict) -> list[dict]:
    """Return the schema of each number that a setting can be."""
    if schema.get("type") in ("integer", "number"):
        return [schema]
    inner = [*schema.get("anyOf", ()), *([schema["items"]] if isinstance(schema.get("items"), dict) else ())]
    return [number for each in inner for number in numbers(each)]


@pytest.mark.parametrize("section", [each for each in sections_of(RunConfig) if each is not RunnerConfig])
def test_every_number_has_a_lower_and_an_upper_bound(section):
    for name, schema in section.model_json_schema()["properties"].items():
        for number in numbers(schema):
            assert {"minimum", "exclusiveMinimum"} & number.keys(), name
            assert {"maximum", "exclusiveMaximum"} & number.keys(), name
