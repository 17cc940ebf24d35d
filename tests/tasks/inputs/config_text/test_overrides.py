import pytest

from clipes.tasks.inputs.config_text.overrides import parse_override
from clipes_core.errors import ConfigError


@pytest.mark.parametrize(
    "text",
    [
        "a photo # of {}.",
        "012",
        "1e3",
        "yes",
        "1:30",
        "2020-01-01",
        "a=b=c",
        " x ",
        "a: b",
        "x ",
        "~",
        "- a",
        "&a",
        "!!a",
    ],
)
def test_a_plain_value_is_kept_to_the_letter(text):
    assert parse_override(f"prompts.template={text}") == {"prompts": {"template": text}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("'null'", "null"),
        ('""', ""),
        ('"a # b"', "a # b"),
        ("[1.0, '012', 012, yes, null]", ["1.0", "012", "012", "yes", None]),
        ("[]", []),
        ("{kind: inline, n: [1]}", {"kind": "inline", "n": ["1"]}),
        ("['a {}.']  ", ["a {}."]),
    ],
)
def test_a_value_with_quotes_or_brackets_is_yaml_without_types(text, value):
    assert parse_override(f"key={text}") == {"key": value}


@pytest.mark.parametrize("override", ["cam.power", "=1", "", ".=1", "cam.=1", "a..b=1", " =1", "a\tb=1", "\udc80=1"])
def test_an_override_without_a_proper_key_or_equals_sign_is_refused(override):
    with pytest.raises(ConfigError, match=r"^--set [^:]*: write it as key=value, for example --set cam\.power=1$"):
        parse_override(override)


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_value_is_refused_with_advice(text):
    with pytest.raises(ConfigError, match=r"dataset\.truth has no value; write dataset\.truth=null for no value$"):
        parse_override(f"dataset.truth={text}")


@pytest.mark.parametrize("text", ["[1, 2", '"a" # b', "'a' b", "{a: 1, a: 2}", "{} on a table", "[a #b]", "[" * 3000])
def test_a_value_that_yaml_would_cut_off_or_cannot_read_is_refused(text):
    with pytest.raises(ConfigError, match=r"^--set key=.*; put the value in quotes: 'key=\"\.\.\.\"'$"):
        parse_override(f"key={text}")
