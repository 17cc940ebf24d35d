"""Print the outcome of a reproduction: the paper's table, possible reasons for differences, and what was left out."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from clipes.flows.terminal.tables import new_table, print_table
from clipes.tasks.commands.reproduce.comparison import Reproduction
from clipes.tasks.commands.reproduce.files import COLUMNS, COMMON, table_rows


def print_reproduction(console: Console, found: Reproduction) -> None:
    """Print the table of published and measured numbers, and explain it. What applies to every row comes first."""
    _print_list(console, f"{COMMON[0].lower()}{COMMON[1:]}:", (f"- {reason}" for reason in found.common_reasons))
    console.print()
    table = new_table(*COLUMNS)
    for row in table_rows(found):
        table.add_row(*row)
    print_table(console, table)
    console.print("mIoU in %; differences in points")
    _print_list(
        console, "possible reasons of single rows:", (f"{number}. {reason}" for reason, number in found.reasons.items())
    )
    _print_list(console, "not measured:", (f"- {each}" for each in found.left_out))


def _print_list(console: Console, title: str, lines: Iterable[str]) -> None:
    shown = [line.replace("\n", " ") for line in lines]
    if shown:
        console.print(Text("\n".join(["", title, *shown])))
