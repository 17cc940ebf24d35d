"""The base class of all sections of a configuration."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of all sections: frozen, and unknown keys are errors.

    In a form made from the schema, the title of each field is its key.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        model_title_generator=lambda section: section.__name__.removesuffix("Config").lower(),
        field_title_generator=lambda key, _: key,
    )
