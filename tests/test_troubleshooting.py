"""docs/troubleshooting.md quotes only messages that the code contains."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MESSAGES = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs/troubleshooting.md").read_text(), flags=re.MULTILINE)


def all_literals() -> str:
    """Return the source of the project, in which adjacent string literals are joined as Python joins them."""
    files = [path for folder in ("flows", "tasks", "clipes_core") for path in sorted((ROOT / folder).rglob("*.py"))]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in files))


@pytest.fixture(scope="module")
def source():
    return all_literals()


def test_the_page_quotes_messages():
    assert len(MESSAGES) > 10


@pytest.mark.parametrize("message", MESSAGES)
def test_every_quoted_message_is_in_the_code(message: str, source: str):
    missing = [part for part in message.split("...") if part.strip() and part.strip() not in source]
    assert not missing
