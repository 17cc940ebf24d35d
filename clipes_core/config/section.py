"""The base of all sections of a configuration."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of every section: frozen, without unknown keys, and titled by its keys in a form made from its schema."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        model_title_generator=lambda section: section.__name__.removesuffix("Config").lower(),
        field_title_generator=lambda key, _: key,
    )
