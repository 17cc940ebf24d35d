"""Print the table of an ablation."""

import textwrap

from rich.console import Console

from clipes.flows.terminal.tables import new_table, print_table
from clipes.tasks.ablation.record import read_result
from clipes.tasks.ablation.result import AblationResult
from clipes.tasks.ablation.tables.table import table_of
from clipes.tasks.ablation.tables.wording import explanations, findings, headings, problems, text_rows

HEADING_WIDTH = 12  # longer headings are wrapped, because the numbers below them are shorter


def print_results(console: Console, store_uri: str, name: str) -> None:
    """Print the table of the runs of an ablation that have ended; print nothing if there are none."""
    result = read_result(store_uri, name)
    if result is not None:
        print_ablation(console, result)


def print_ablation(console: Console, result: AblationResult) -> None:
    """Print the table of an ablation, how to read it, what it shows, and which runs failed."""
    table = table_of(result)
    first, *others = (textwrap.fill(each, HEADING_WIDTH, break_long_words=False) for each in headings(table))
    printed = new_table(first, *others)
    for cells in text_rows(table):
        printed.add_row(*cells)
    console.print(table.title)
    print_table(console, printed)
    for line in (*explanations(table), *findings(table, every=False), *problems(table)):
        console.print(line)
    if table.paper:
        console.print(table.paper)
