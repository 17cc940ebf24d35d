"""docs/troubleshooting.md quotes only messages that the code contains."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MESSAGES = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/troubleshooting.md").read_text(), flags=re.MULTILINE)
FOLDERS = ("flows", "tasks", "clipes_core")
VALUE = "\0"  # stands for a value in an f-string


def literals(source: str) -> Iterator[str]:
    """Yield the string literals and f-strings of a module, apart from docstrings.

    Adjacent literals are one literal, as in Python.
    """
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values)


def is_quoted_from(message: str, texts: list[str]) -> bool:
    """Return whether one of the texts has all parts of a message, between which it has `...`, in their order."""
    parts = [re.escape(part.strip()) for part in message.split("...") if part.strip()]
    pattern = re.compile(".*".join(parts), re.DOTALL)
    return any(pattern.search(text) for text in texts)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return [text for path in files for text in literals(path.read_text())]


def test_the_page_quotes_messages():
    assert len(MESSAGES) > 10


@pytest.mark.parametrize("message", MESSAGES)
def test_every_quoted_message_is_in_the_code(message: str, texts: list[str]):
    assert is_quoted_from(message, texts)


def test_a_quote_must_come_from_one_literal_and_in_its_order():
    texts = list(literals('"""one two"""\nx = f"the {disk} is full: " "free" + "some space"'))
    assert texts == [f"the {VALUE} is full: free", "some space", "the ", " is full: free"]
    assert is_quoted_from("the ... is full: ... free", texts)
    assert not is_quoted_from("full ... the", texts)
    assert not is_quoted_from("free ... some", texts)
    assert not is_quoted_from("one ... two", texts)
