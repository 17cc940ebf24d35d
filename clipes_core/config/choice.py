"""A setting whose value is a name in a table."""

from collections.abc import Mapping
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema


class NameIn:
    """Annotation of a string that must be a name in a table.

    The table is read whenever a value is checked or a JSON schema is made, so names that are added later are valid too.

    Args:
        table: mapping whose keys are the names.
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
        *others, last = map(repr, self._table)
        expected = f"{', '.join(others)} or {last}" if others else last
        raise PydanticKnownError("literal_error", {"expected": expected})
