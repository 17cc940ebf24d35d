"""What clipes does with an input, as observed and as docs/input.md states it."""

import re
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).parents[3] / "docs" / "input.md"
CLAIM = re.compile(r"(rejects|notes|exit 2|log|report): (none|`[^`]+`(?:,? `[^`]+`)*)")


@dataclass(frozen=True)
class Seen:
    """What clipes did with an input.

    Attributes:
        rejects: stage and kind of each row of the photo in rejects.parquet.
        notes: notes in the photo's row of the stage `cams`; None if the photo has no mask.
        exit_code: exit code of the command; None if the command did not end with an error.
        message: text that clipes logged or wrote to standard error.
    """

    rejects: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] | None = None
    exit_code: int | None = None
    message: str = ""


@dataclass(frozen=True)
class TableRow:
    """A row of a table in docs/input.md: an input, and what clipes is expected to do with it."""

    group: str
    given: str
    rejects: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] | None
    exit_code: int | None
    words: tuple[str, ...]

    def check(self, seen: Seen) -> None:
        """Assert that clipes did what the row states."""
        assert seen.rejects == self.rejects
        assert seen.notes == self.notes
        assert seen.exit_code == self.exit_code
        assert all(word in seen.message for word in self.words), seen.message
        assert "Traceback" not in seen.message


def table_rows() -> list[TableRow]:
    """Return the rows of docs/input.md."""
    rows, group = [], ""
    for line in TABLE.read_text().splitlines():
        if line.startswith("## "):
            group = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith("| input |"):
            given, happens, seen = (cell.strip() for cell in line.strip("|").split(" | "))
            assert happens, given
            rows.append(_row(group, given, seen))
    return rows


def _row(group: str, given: str, seen: str) -> TableRow:
    claims = {what: tuple(re.findall("`([^`]+)`", words)) for what, words in CLAIM.findall(seen)}
    assert len(claims) == len(re.sub("`[^`]*`", "", seen).split(";")), f"{given}: cannot be checked: {seen}"
    stage_and_kind = claims.get("rejects")
    return TableRow(
        group,
        given,
        rejects=(stage_and_kind,) if stage_and_kind else (),
        notes=claims.get("notes"),
        exit_code=2 if "exit 2" in claims else None,
        words=(*claims.get("exit 2", ()), *claims.get("log", ()), *claims.get("report", ())),
    )
