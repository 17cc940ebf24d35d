"""Write the outcome of a reproduction as Markdown, for people, and as JSON, for programs."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from clipes.tasks.ablation.tables.markdown_table import MISSING, signed, table_lines
from clipes.tasks.commands.reproduce.comparison import ReproducedNumber, Reproduction
from clipes.tasks.storage.run_files import RunFiles

MARKDOWN_FILE, JSON_FILE = "reproduction.md", "reproduction.json"
COMMON = "Possible reasons for the differences in every row"
COLUMNS = ("what", "split", "published", "measured", "difference", "reasons")
INITIAL_WEIGHTS = {"imagenet": "ImageNet", "coco": "COCO"}
NUMBERS = (2, 3, 4)  # places of the columns with numbers


def write_files(found: Reproduction, files: RunFiles) -> str:
    """Write reproduction.md and reproduction.json.

    Args:
        found: the outcome.
        files: files of the folder to write to.

    Returns:
        URI of reproduction.md.

    Raises:
        StorageError: the store refuses the write.
        TransientError: the store does not answer.
    """
    files.write_json(JSON_FILE, reproduction_json(found))
    files.write_bytes(MARKDOWN_FILE, markdown(found).encode())
    return files.uri(MARKDOWN_FILE)


def reproduction_json(found: Reproduction) -> dict[str, Any]:
    """Return a reproduction as plain values."""
    rows = [
        {
            "id": each.number_id,
            **each.published.model_dump(mode="json", include={"what", "data", "split", "init", "unit", "source"}),
            "published": each.published.value,
            "measured": each.measured,
            "difference": each.difference,
            "run": each.run,
            "reasons": list(each.reasons),
        }
        for each in found.numbers
    ]
    return {**asdict(found), "numbers": rows}


def table_rows(found: Reproduction) -> list[tuple[str, ...]]:
    """Return the cells of the rows of the table, in the order of COLUMNS.

    The reasons are given by their numbers, without those that apply to every row.
    """
    return [
        (
            _what(each),
            each.published.split,
            each.published.text,
            MISSING if each.measured is None else f"{each.measured:.1f}",
            MISSING if each.difference is None else signed(each.difference, 1),
            _ranges(sorted(found.reasons[reason] for reason in each.reasons)),
        )
        for each in found.numbers
    ]


def _what(each: ReproducedNumber) -> str:
    init = INITIAL_WEIGHTS.get(each.published.init or "")
    return f"{each.published.what}, {init} weights" if init else each.published.what


def _ranges(numbers: Sequence[int]) -> str:
    """Return rising numbers as text, with three or more consecutive numbers as a range, such as "1, 4-9"."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    shown = (f"{own[0]}-{own[-1]}" if len(own) > 2 else ", ".join(map(str, own)) for own in groups)
    return ", ".join(shown)


def markdown(found: Reproduction) -> str:
    """Return a reproduction as a Markdown document."""
    parts = [
        f"# The paper's numbers on {found.data}",
        *dict.fromkeys(found.photos),
        _section(COMMON, (f"- {each}" for each in found.common_reasons)),
        "## Scores",
        "\n".join(table_lines(COLUMNS, table_rows(found), NUMBERS)),
        "Scores are mIoU in %; differences are in points.",
        _section(
            "Possible reasons of single rows", (f"{number}. {reason}" for reason, number in found.reasons.items())
        ),
        _section("Not measured", (f"- {each}" for each in found.left_out)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _section(title: str, lines: Iterable[str]) -> str:
    text = "\n".join(line.replace("\n", " ") for line in lines)
    return f"## {title}\n\n{text}" if text else ""
