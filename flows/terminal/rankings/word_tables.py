"""Print the scores of words of classes, and of background words."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from clipes.flows.terminal.result_tables import print_summary
from clipes.flows.terminal.tables import new_table, print_table
from clipes.tasks.runs.words.ranking import ClassRanking, SeenWord

if TYPE_CHECKING:
    from clipes.flows.rankings.words import WordRanking

MOST_SHOWN = 10  # background words per class
OF_SYNONYMS = (
    "with, without: mean softmax score of the word on the photos with and without the class; margin: their difference",
    "(higher is better); AUC: how well its logit tells these photos apart (1 is best, 0.5 is chance); sharpness: eq. 5",
    "over the photos with the class (lower is better)",
)
OF_BACKGROUND = (
    "fires: photos on which the word scores more than an even part, which is 1 / (number of texts in the softmax);",
    "beats: photos on which it scores more than the class; share, elsewhere: its mean softmax score on the photos with",
    "and without the class",
)


def print_word_ranking(
    console: Console, ranking: "WordRanking", classes: Sequence[str], lines: Sequence[str], verified: bool
) -> None:
    """Print the scores of the words, the lines for a vocabulary, and the summary of the run.

    Args:
        console: where to print.
        ranking: the ranking.
        classes: names of the classes whose background words are printed; empty for all classes.
        lines: the proposed lines of the vocabulary.
        verified: whether the cached artifacts were read completely.
    """
    for each in ranking.found.classes:
        _print_class(console, each)
    for name, seen in groupby(ranking.found.seen, lambda word: word.class_name):
        if not classes or name in classes:
            _print_seen(console, name, list(seen))
    shown = {word.class_name for word in ranking.found.seen}
    for name in classes if ranking.found.seen else ():
        if name not in shown:
            console.print(f"{name}: no photos")
    for line in OF_SYNONYMS if ranking.found.classes else OF_BACKGROUND:
        console.print(line)
    if ranking.found.never:
        console.print(f"words that fire on no photo: {', '.join(ranking.found.never)}")
    console.print("\nproposal for the vocabulary:")
    for line in lines:
        console.print(line)
    console.print()
    print_summary(console, ranking.summary, verified)


def _print_class(console: Console, ranking: ClassRanking) -> None:
    counts = ranking.photos
    console.print(
        f"{ranking.class_name}: {counts.with_class} photos with it ({counts.with_several} of them with other classes), "
        f"{counts.without_class} without{_few(ranking.few)}"
    )
    table = _with_text(new_table("word", "with", "without", "margin", "AUC", "sharpness"), "source", "sense")
    senses = dict.fromkeys(each.candidate.sense for each in ranking.ranked if each.candidate.sense)
    numbered = {sense: str(number) for number, sense in enumerate(senses, 1)}
    for each in ranking.ranked:
        found = each.scores
        numbers = (found.share_with, found.share_without, found.margin, found.auc, found.sharpness)
        sense = numbered.get(each.candidate.sense, "")
        table.add_row(found.word, *map(_number, numbers), each.candidate.source, sense)
    print_table(console, table)
    for sense, number in numbered.items():
        console.print(f"sense {number}: {sense}")
    console.print()


def _print_seen(console: Console, name: str, seen: Sequence[SeenWord]) -> None:
    firing = [each for each in seen if each.firing.fires > 0]
    counted = f"{len(firing)} of {len(seen)} words fire" + (
        f", the first {MOST_SHOWN} are" if firing[MOST_SHOWN:] else ""
    )
    first = seen[0].firing
    console.print(f"{name}: {first.photos} photos, even part {first.even:.3f}, {counted}{_few(seen[0].few)}")
    if not firing:
        return
    table = _with_text(new_table("word", "fires", "beats", "share", "elsewhere"), "vocabulary", "photo")
    for each in firing[:MOST_SHOWN]:
        found = each.firing
        rates = (f"{100 * rate:.0f} %" for rate in (found.fires, found.beats))
        numbers = map(_number, (found.share, found.share_elsewhere))
        table.add_row(found.word, *rates, *numbers, "yes" if each.known else "no", each.examples[0])
    print_table(console, table)
    console.print()


def _few(few: bool) -> str:
    return "; FEW PHOTOS, so the scores are uncertain" if few else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _with_text(table: Table, *columns: str) -> Table:
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="fold")
    return table
