"""Make text of any origin safe for the Markdown of the Prefect UI."""

import re
from urllib.parse import quote

from clipes.tasks.machine.terminal import printable


def plain(text: str) -> str:
    """Return text in one line that Markdown, also in a table, shows unchanged."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>~&$-])", r"\\\1", _one_line(text))


def code(text: str) -> str:
    """Return text as code in one line, with a fence longer than the longest sequence of backticks in the text."""
    line = _one_line(text)
    if "\\|" in line:  # in the code of a table, Markdown cannot show a backslash before a bar
        return plain(line)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    padding = " " if "`" in (line[:1], line[-1:]) else ""
    return f"{fence}{padding}{line.replace('|', chr(92) + '|')}{padding}{fence}"


def link(uri: str) -> str:
    """Return a link for an HTTP URI. Return any other URI, such as a local path, as text to copy."""
    if not uri.startswith(("http://", "https://")):
        return code(uri)
    target = quote(_one_line(uri), safe=":/?#[]@!$&'()*+,;=%~")
    return f"[{plain(uri)}](<{target}>)"


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
