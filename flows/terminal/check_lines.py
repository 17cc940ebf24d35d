"""Print the findings of `clipes check` and `clipes doctor` as wrapped lines, each as soon as it is known."""

import textwrap
from collections import Counter
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from clipes.tasks.commands.finding import Finding
from clipes.tasks.machine.terminal import printable
from clipes_core.config.uri import without_secrets

WORDS = {True: ("ok", "green"), None: ("warning", "yellow"), False: ("problem", "bold red")}
WORD_WIDTH, WHAT_WIDTH = 9, 17  # columns
LEAST_WIDTH = 20  # of the details


def print_check(console: Console, findings: Iterable[Finding]) -> bool:
    """Print findings and a summary; return whether a run can start."""
    counts = print_findings(console, findings)
    problems = counts[False]
    counted = f"{_count(counts[None], 'warning')}, {_count(problems, 'problem')}"
    console.print(f"\n{counted}: {'a run cannot start' if problems else 'a run can start'}")
    return not problems


def print_findings(console: Console, findings: Iterable[Finding], what_width: int = WHAT_WIDTH) -> Counter[bool | None]:
    """Print findings; return how many items work (True), work with a warning (None) and cannot be used (False).

    Words that are wider than the terminal, such as long paths, are not divided, so that they can be copied.

    Args:
        console: console to print to.
        findings: the findings.
        what_width: columns for the names of the checked items.
    """
    counts: Counter[bool | None] = Counter()
    for finding in findings:
        counts[finding.works] += 1
        _print_finding(console, finding, what_width)
    return counts


def _print_finding(console: Console, finding: Finding, what_width: int) -> None:
    word, style = WORDS[finding.works]
    indent = " " * (WORD_WIDTH + what_width)
    width = max(console.width - len(indent), LEAST_WIDTH)
    first, *others = [
        wrapped
        for line in printable(without_secrets(finding.detail)).splitlines() or [""]
        for wrapped in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
    ]
    console.print(Text.assemble((word.ljust(WORD_WIDTH), style), finding.what.ljust(what_width), first))
    for line in others:
        console.print(Text(f"{indent}{line}"))


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
