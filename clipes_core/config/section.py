"""The base class of all sections of a configuration."""

import unicodedata
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, field_validator

LONGEST_TEXT = 4096  # the longest path that Linux accepts [characters]
CONTROL = "Cc"  # Unicode category


class Section(BaseModel):
    """Base class of the sections of a configuration. A section is frozen and rejects unknown keys.

    Every number is finite. Every text has 1 to 4096 characters, none of which is a control character. The words true
    and false are not numbers.

    The Prefect UI builds a form from the JSON schema of the sections. In this form, the title of a field is its key,
    and the title of a section is the name of its class, in lower case and without `Config`.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        str_min_length=1,
        str_max_length=LONGEST_TEXT,
        hide_input_in_errors=True,  # an invalid value may be a password; ConfigError shows harmless values
        model_title_generator=lambda section: section.__name__.removesuffix("Config").lower(),
        field_title_generator=lambda key, _: key,
    )

    @field_validator("*", mode="wrap")
    @classmethod
    def _true_is_no_number(cls, value: Any, convert: ValidatorFunctionWrapHandler) -> Any:
        """Refuse true and false if pydantic would convert them to 1 and 0."""
        converted = convert(value)
        pairs = zip(_items(value), _items(converted), strict=False)
        if any(isinstance(given, bool) and not isinstance(made, bool) for given, made in pairs):
            raise ValueError("must not be true or false")
        return converted

    @field_validator("*")
    @classmethod
    def _has_no_control_characters(cls, value: Any) -> Any:
        for text in _items(value):
            if isinstance(text, str) and any(unicodedata.category(each) == CONTROL for each in text):
                raise ValueError("must not contain control characters")
        return value


def _items(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)
