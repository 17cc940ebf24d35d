"""What all sections of a configuration have in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of every section: frozen, unknown keys rejected; a form drawn from its schema shows the keys as they are."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        model_title_generator=lambda section: section.__name__.removesuffix("Config").lower(),
        field_title_generator=lambda key, _: key,
    )
