"""Texts that a terminal, a Markdown page or an HTML page could mistake for instructions."""

import random

CONTROLS = ("\x1b[2J", "\x1b]8;;http://x\x07", "\r", "\x08", "\x00", "\x7f", "\x9b31m", "\n", "\u2028", "\u202e")
SURROGATES = ("\udc80", "\ud800")
RICH = ("[bold]", "[/]", "[x]", "[link=http://x]", ":dog:")
MARKDOWN = ("|", "`", "``", "\n| a | b |", "](javascript:x)", "![", "# ", "---", "$x$", "\\")
HTML = ("<script>alert(1)</script>", "]]>", "&amp;", '"', "'")
NORMAL = ("träd", "🐕", "e\u0301", " ", "photo.jpg")
PARTS = (*CONTROLS, *SURROGATES, *RICH, *MARKDOWN, *HTML, *NORMAL)


def hostile_texts(chance: random.Random, count: int) -> list[str]:
    """Return texts of up to eight random parts each."""
    return ["".join(chance.choices(PARTS, k=chance.randint(1, 8))) for _ in range(count)]
