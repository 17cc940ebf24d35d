"""Support for settings whose value is the name of a row in a table, such as `crf.backend`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, TypeVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from clipes_core.errors import ConfigError

Row = TypeVar("Row")


@dataclass(frozen=True)
class NamedFunction:
    """A row of a table of functions. It holds the location of a function instead of the function itself.

    If the table held the function itself, the imports would be circular: the function's module imports the
    configuration, and the configuration imports the table.

    Attributes:
        function: import path of the function, as "module:name".
    """

    function: str

    def load(self) -> Callable[..., Any]:
        """Import the function and return it."""
        return resolve_name(self.function)


def look_up(table: Mapping[str, Row], name: str, setting: str) -> Row:
    """Return the table row with a given name.

    Args:
        table: name -> row.
        name: value of the setting.
        setting: config key or command-line option of the setting, for the error message.

    Raises:
        ConfigError: the table has no row of this name.
    """
    if name not in table:
        raise ConfigError(f"{setting}: Input should be {_one_of(table)} (got {name!r})")
    return table[name]


class NameIn:
    """Pydantic annotation for a string that must be a key of a table.

    Keys that are added to the table after the annotation was created are valid as well.

    Args:
        table: mapping whose keys are the valid strings.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._table = table

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self._table)}

    def _check(self, value: Any) -> Any:
        if isinstance(value, str) and value in self._table:
            return value
        raise PydanticKnownError("literal_error", {"expected": _one_of(self._table)})


def _one_of(names: Mapping[str, Any]) -> str:
    *others, last = map(repr, names)
    return f"{', '.join(others)} or {last}" if others else last
