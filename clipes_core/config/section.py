"""The base class of all sections of a configuration."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base class of the sections of a configuration. A section is frozen and rejects unknown keys.

    The Prefect UI builds a form from the JSON schema of the sections. In this form, the title of a field is its key,
    and the title of a section is the name of its class, in lower case and without `Config`.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        model_title_generator=lambda section: section.__name__.removesuffix("Config").lower(),
        field_title_generator=lambda key, _: key,
    )
