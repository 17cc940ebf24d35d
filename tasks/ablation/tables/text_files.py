"""The table of an ablation as Markdown and as CSV."""

import csv
import io

from clipes.tasks.ablation.tables.markdown_table import table_lines
from clipes.tasks.ablation.tables.table import AblationTable
from clipes.tasks.ablation.tables.wording import explanations, findings, headings, problems, text_rows

CSV_COLUMNS = (
    "variant",
    "reference",
    "figure",
    "unit",
    "mean",
    "lowest",
    "highest",
    "runs",
    "difference",
    "paper",
    "source",
)


def markdown_table(table: AblationTable) -> list[str]:
    """Return the lines of the table, without any text around it."""
    columns = headings(table)
    return table_lines(columns, text_rows(table), range(1, len(columns)))


def markdown(table: AblationTable) -> str:
    """Return the table as a Markdown document, with what it compares, how to read it, and what it shows."""
    parts = [
        f"# {table.title}",
        table.about,
        table.paper,
        f"Photos: {table.data}",
        "\n".join(markdown_table(table)),
        *explanations(table),
        "\n".join(f"- {line}" for line in (*findings(table), *problems(table))),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def csv_text(table: AblationTable) -> str:
    """Return the table as CSV: one line per variant and figure. Numbers have six decimals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            ends = (min(cell.values), max(cell.values)) if cell.values else (None, None)
            published = (cell.published.value, cell.published.source) if cell.published is not None else (None, None)
            writer.writerow(
                [
                    row.label,
                    str(row.is_reference).lower(),
                    column.figure,
                    column.unit.name,
                    *map(_rounded, (cell.mean, *ends)),
                    len(cell.values),
                    _rounded(cell.difference),
                    *published,
                ]
            )
    return text.getvalue()


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 6)
