"""docs/reproduce.md has a command for every published number that clipes can measure, and names all the others."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipes.flows.cli import app
from clipes.tasks.ablation.grid_file import load_grid
from clipes.tasks.commands.reproduce.paper_config import REPRODUCTIONS
from clipes.tasks.inputs.config_text.overrides import parse_override
from clipes.tasks.inputs.configs import load_config
from clipes.tasks.inputs.paper.published import published_numbers
from clipes.tasks.runs.inputs.vocabulary import checked_vocabulary
from clipes_core.config.run import RunConfig

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reproduce.md").read_text()
BLOCK = re.compile(r"^```\n(.*?)^```\n", flags=re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| (\S+) (\S+) \| (.+?)(?:; .+?)? \|", flags=re.MULTILINE)


def commands(block: str) -> list[list[str]]:
    """Return the words of each command of a block."""
    return [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]


COMMANDS = [words for block in BLOCK.findall(PAGE) for words in commands(block)]


def parsed(words: list[str]) -> dict[str, object]:
    """Return the arguments and options of a command as the command line parses them."""
    import typer.main

    group = typer.main.get_command(app)
    name, *arguments = words[1:]
    context = group.commands[name].make_context(
        name, arguments, parent=group.make_context("clipes", ["--help"], resilient_parsing=True)
    )
    return context.params


def sections() -> Iterator[tuple[list[str], list[str]]]:
    """Yield the words of the first command of each section with published numbers, and the ids of these numbers."""
    for section in re.split(r"^#+ .*\n", PAGE, flags=re.MULTILINE):
        ids = [row[0] for row in ROW.findall(section)]
        blocks = BLOCK.findall(section)
        if ids and blocks:
            yield commands(blocks[0])[0], ids


def config_of(words: list[str], folder: Path) -> RunConfig:
    """Return the config of a command `clipes run`, with a folder in place of the data set."""
    overrides = [one for one in parsed(words)["overrides"] if "VOCdevkit" not in one and one != "dataset.root=coco"]
    return load_config(str(ROOT / words[2]), (*overrides, f"dataset.root={folder}", f"dataset.truth={folder}"))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_command_is_accepted(words, tmp_path):
    assert words[0] == "clipes"
    assert parsed(words)
    if words[1] == "run":
        checked_vocabulary(config_of(words, tmp_path))


def test_each_number_is_in_the_page_as_it_was_published():
    rows = {number_id: (value, unit, what) for number_id, value, unit, what in ROW.findall(PAGE)}
    numbers = published_numbers().items()
    assert rows == {key: (each.text, each.unit, each.what) for key, each in numbers}


def test_each_command_has_the_data_set_the_split_and_the_settings_of_its_numbers(tmp_path):
    found = {number_id: words for words, ids in sections() for number_id in ids}
    numbers = published_numbers()
    assert found.keys() == {key for key, each in numbers.items() if each.settings is not None}
    for number_id, words in found.items():
        number, config = numbers[number_id], config_of(words, tmp_path)
        assert words[2] == f"configs/{number.data}.yaml"
        assert (config.evaluation.split if number.init else config.dataset.split) == number.split
        assert config.train.enabled is (number.init is not None)
        for key, value in number.settings.items():
            section, name = key.split(".")
            stated = getattr(getattr(config, section), name)
            assert stated == (tuple(value) if isinstance(value, list | tuple) else value), f"{number_id}: {key}"
        given = {key for one in parsed(words)["overrides"] for key in _keys(parse_override(one))}
        ours = {"dataset.root", "dataset.split", "dataset.truth", "evaluation.split", "train.enabled", "crf.enabled"}
        assert given - ours - {"crf.image"} <= number.settings.keys(), number_id


def test_the_page_names_the_numbers_with_a_command_that_reproduce_leaves_out():
    grids = [load_grid(str(path)) for path in sorted(REPRODUCTIONS.rglob("*.yaml"))]
    compared = {number_id for grid in grids for ids in grid.published.values() for number_id in ids.values()}
    (section,) = re.findall(r"^### What `clipes reproduce` leaves out\n(.+?)^##", PAGE, re.MULTILINE | re.DOTALL)
    with_command = {key for key, each in published_numbers().items() if each.settings is not None}
    assert compared <= with_command
    assert set(re.findall(r"`((?:voc|coco)_\w+)`", section)) == with_command - compared


def _keys(values, prefix=""):
    for key, value in values.items():
        yield from _keys(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
