import pytest
import yaml

from clipes.tasks.inputs.config_text.yaml_text import MAX_DEPTH, MAX_NODES, check_yaml


def bomb(levels: int, width: int) -> str:
    """Return a YAML text whose last list has `width ** levels` values if all aliases are written out."""
    lines = [f"a0: &a0 [{', '.join('x' * width)}]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]" for level in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 1\nb: {a: 1, '1': 2, 1: 3}\n---\nc: 1",
        "base: &base {a: 1}\nown: {<<: *base, b: 2}\nagain: *base",
        "? [a, b]\n: 1\n? {a: 1}\n: [a, a]",
        "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1),
        f"[{'a, ' * (MAX_NODES - 10)}]",
        bomb(4, 10),
        f"a: {'9' * 300}\nb: '{'9' * 5000}'\nc: {'0' * 5000}z",
    ],
)
def test_a_text_that_can_be_read_is_accepted(text):
    check_yaml(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r"the key 'a' occurs twice \(line 3\)"),
        ("- {b: 1, 'c': 2, c: 2, 'c': 3}", r"the key 'c' occurs twice \(line 1\)"),
        ("[" * (MAX_DEPTH + 1), r"its values are nested more than 100 times \(line 1\)"),
        ("[" * 300_000, "its values are nested more than 100 times"),
        ("- " * 100_000, "its values are nested more than 100 times"),
        (f"[{'a, ' * (MAX_NODES + 10)}]", "it has more than 100000 values if all aliases are written out; use fewer"),
        (bomb(6, 10), "it has more than 100000 values if all aliases are written out; use fewer aliases"),
        (bomb(60, 2), "it has more than 100000 values"),
        (f"a: 1\nb: {'9' * 301}", r"the number 9999999999\.\.\. has more than 300 digits \(line 2\)"),
        (f"a: -{'9' * 5000}", r"the number -999999999\.\.\. has more than 300 digits"),
        (f"[0x{'f' * 5000}]", "has more than 300 digits"),
        (f"0b{'1' * 20_000}: 1", "has more than 300 digits"),
        (f"0{'7' * 5000}", "has more than 300 digits"),
        (f"- {'1_0' * 2000}", "has more than 300 digits"),
        (f"a: {'1:' * 3000}1", "has more than 300 digits"),
        (f"a: 0x{'f' * 290}", "has more than 300 digits"),
        (f"a: !!int '0x{'f' * 5000}'", "has more than 300 digits"),
        ("a: &x [1, {b: *x}]", r"the alias \*x contains itself \(line 1\)"),
    ],
)
def test_a_text_that_cannot_be_read_safely_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        check_yaml(text)


def test_a_text_that_is_not_yaml_raises_the_error_of_the_parser():
    with pytest.raises(yaml.YAMLError):
        check_yaml("a: [1")


@pytest.mark.parametrize("value", ["9" * 300, f"0x{'f' * 240}", f"!!str {'9' * 301}", f"'{'9' * 5000}'", "5f" * 200])
def test_long_texts_and_smaller_numbers_are_accepted(value):
    check_yaml(f"a: {value}")
