"""Write the files of an ablation: its table as Markdown, CSV and an HTML page."""

from clipes.tasks.ablation.result import AblationResult
from clipes.tasks.ablation.tables.page import page
from clipes.tasks.ablation.tables.table import table_of
from clipes.tasks.ablation.tables.text_files import csv_text, markdown
from clipes.tasks.storage.layout import REPORT_FILE
from clipes.tasks.storage.run_files import RunFiles

TABLE_MARKDOWN, TABLE_CSV = "table.md", "table.csv"


def write_files(result: AblationResult, files: RunFiles) -> str:
    """Write table.md, table.csv and report.html of an ablation.

    Args:
        result: the ablation.
        files: files of its folder.

    Returns:
        URI of report.html.

    Raises:
        StorageError: the store refuses the write.
        TransientError: the store does not answer.
    """
    table = table_of(result)
    files.write_bytes(TABLE_MARKDOWN, markdown(table).encode())
    files.write_bytes(TABLE_CSV, csv_text(table).encode())
    files.write_html(REPORT_FILE, page(table))
    return files.uri(REPORT_FILE)
