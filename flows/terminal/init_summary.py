"""Print what `clipes init` found, doubts and wrote."""

import shlex
from pathlib import Path

from clipes.tasks.commands.init.inspection import count_suffixes
from clipes.tasks.commands.init.writing import Initialised
from clipes.tasks.machine.terminal import TerminalConsole

MOST_CLASSES = 12  # in the summary; the vocabulary lists all


def print_initialised(console: TerminalConsole, done: Initialised) -> None:
    """Print the layout, the photos, the classes, the doubts, the files and the next steps."""
    inspection = done.inspection
    found = inspection.found
    suffixes = ", ".join(f"{count} {suffix}" for suffix, count in count_suffixes(found.photos).items())
    console.print(f"found    {found.description}")
    console.print(f"photos   {len(found.photos)} of {len(inspection.folder.photos)} ({suffixes})")
    classes = sorted(inspection.classes, key=lambda each: -each.photos)
    shown = ", ".join(f"{each.name} {each.photos}" for each in classes[:MOST_CLASSES])
    more = f", and {len(classes) - MOST_CLASSES} more" if len(classes) > MOST_CLASSES else ""
    console.print(f"classes  {len(classes)}{f': {shown}' if shown else ''}{more}")
    console.print(f"training {done.run.recipe or 'none'}: {done.run.reason}")
    doubts = found.doubts.found()
    if doubts:
        console.print("doubts")
    for doubt in doubts:
        console.print(f"  - {doubt}")
    console.print(f"wrote    {', '.join(map(_shown, done.files))}")
    for line in _next_steps(done):
        console.print(line)


def _next_steps(done: Initialised) -> list[str]:
    config, vocabulary, *lists = map(_shown, done.files)
    if not done.inspection.classes:
        return [f"next     name your classes in {vocabulary}, write the labels of the photos into {', '.join(lists)}"]
    file = shlex.quote(config)
    return [f"next     look at the background words in {vocabulary}, then: clipes check {file}; clipes run {file}"]


def _shown(path: Path) -> str:
    return path.name if path.parent == Path.cwd() else str(path)
