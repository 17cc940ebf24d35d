import pytest
from pydantic import Field, ValidationError

from clipes_core.config.section import Section


class GammaConfig(Section):
    """A section with one number."""

    power: float = Field(2.0, ge=1, description="Exponent.")


class Palette(Section):
    """A section that contains a section and whose name does not end with Config."""

    gamma: GammaConfig = Field(default_factory=GammaConfig)


def test_a_section_cannot_be_changed():
    section = Palette()
    with pytest.raises(ValidationError, match="Instance is frozen"):
        section.gamma = GammaConfig(power=3)
    with pytest.raises(ValidationError, match="Instance is frozen"):
        section.gamma.power = 3
    assert section == Palette()


def test_equal_sections_have_the_same_hash():
    assert len({GammaConfig(): 1, GammaConfig(power=2): 2, GammaConfig(power=3): 3}) == 2


def test_an_unknown_key_is_refused_at_every_depth():
    for values in ({"power": 3}, {"gamma": {"powr": 3}}):
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            Palette.model_validate(values)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", float("nan"), float("inf")])
def test_numbers_must_be_finite(number):
    with pytest.raises(ValidationError, match="Input should be a finite number"):
        GammaConfig(power=number)


def test_schema_titles_are_the_names_of_keys_and_sections():
    schema = Palette.model_json_schema()
    assert schema["title"] == "palette"
    assert schema["$defs"]["GammaConfig"]["title"] == "gamma"
    assert schema["$defs"]["GammaConfig"]["properties"]["power"]["title"] == "power"
