"""Make tables that a console can show without cutting off a cell."""

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from clipes.tasks.machine.terminal import printable

STYLES = {"completed": "green", "running": "cyan", "interrupted": "yellow", "cancelled": "yellow", "failed": "red"}


def styled(word: str) -> Text:
    """Return the state of a run in its colour. Only a terminal shows colours."""
    return Text(word, STYLES.get(word, ""))


def print_table(console: Console, table: Table) -> None:
    """Print a table without cutting off a cell.

    If the console is too narrow, the columns that hold only zeros are left out, and then the first column is wrapped.
    If it is still too narrow, the lines are longer than the console, and the terminal wraps them.
    """
    if _needed(table) > console.width:
        table = _without_zeros(table)
    if _needed(table) > console.width:
        table.columns[0].no_wrap = False
        table.width = max(_needed(table), console.width)
    console.print(table)


def _needed(table: Table) -> int:
    return sum(_width(column) for column in table.columns) + len(table.columns) - 1  # a blank between columns


def _width(column: Column) -> int:
    """Return the smallest width at which no cell of a column is cut off, and no word of the column is divided."""
    cells = [printable(str(cell)) for cell in (column.header, *column.cells)]
    parts = [part for cell in cells for part in (cell.splitlines() if column.no_wrap else cell.split())]
    return max(map(cell_len, parts), default=0)


def _without_zeros(table: Table) -> Table:
    kept = [column for column in table.columns if not all(str(cell) in ("0", "") for cell in column.cells)]
    narrow = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in kept:
        narrow.add_column(
            column.header, justify=column.justify, no_wrap=column.no_wrap, overflow=column.overflow, vertical="bottom"
        )
    for cells in zip(*(column.cells for column in kept), strict=True):
        narrow.add_row(*cells)
    return narrow


def new_table(first: str, *others: str) -> Table:
    """Return an empty table with these columns; all but the first hold numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for column in others:
        table.add_column(column, justify="right", no_wrap=True, overflow="fold")
    return table
