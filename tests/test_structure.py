"""Limits on the units of this repository, their sizes, and the number of imports between them."""

import ast
import keyword
import tokenize
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import pytest
from support.imports import ROOT, imported_modules, source_files

MOST_UNITS, MOST_RELATIONS, MOST_MODULES, MOST_CLASS_LINES = 16, 92, 12, 150
MOST_CORE_MODULES = 17  # modules directly in clipes_core/
PASSAGE_LINES = 6
PASSAGE_SHAPES = 4  # lists of constants have fewer shapes and may repeat
MOST_REPEATED_PASSAGES = 7
CONSTANTS = ("True", "False", "None")


def unit_of(module: str) -> str | None:
    """Return the unit of a module: api, flows, clipes_core, or an entry of tasks/; None for other modules."""
    parts = module.removeprefix("clipes.").split(".")
    if parts[0] == "tasks":
        return f"tasks.{parts[1]}" if len(parts) > 1 else None
    return parts[0] if parts[0] in ("api", "flows", "clipes_core") else None


def relations() -> dict[str, set[str]]:
    """Return unit -> the units that it imports."""
    found: dict[str, set[str]] = defaultdict(set)
    for source in source_files():
        unit = unit_of(".".join(source.relative_to(ROOT).with_suffix("").parts))
        if unit is None or unit == "tasks.__init__":
            continue
        found[unit] |= {other for name in imported_modules(source) if (other := unit_of(name)) not in (None, unit)}
    return found


def test_there_are_few_units_and_few_imports_between_them():
    found = relations()
    assert len(found) <= MOST_UNITS, sorted(found)
    assert sum(map(len, found.values())) <= MOST_RELATIONS


def test_no_units_import_each_other_in_a_cycle():
    left = relations()
    while left:
        free = [unit for unit, read in left.items() if not read & left.keys()]
        assert free, f"these units import each other: {sorted(left)}"
        for unit in free:
            del left[unit]


def module_counts() -> dict[str, int]:
    """Return folder -> the number of modules directly in it."""
    found: dict[str, int] = defaultdict(int)
    for source in source_files():
        found[str(source.parent.relative_to(ROOT))] += source.name != "__init__.py"
    return found


@pytest.mark.parametrize("folder", module_counts())
def test_no_folder_has_too_many_modules(folder):
    assert module_counts()[folder] <= (MOST_CORE_MODULES if folder == "clipes_core" else MOST_MODULES)


def test_no_class_is_too_large():
    for source in source_files():
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.ClassDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines < MOST_CLASS_LINES, f"{source.relative_to(ROOT)}: {node.name} has {lines} lines"


def code_shapes(source: Path) -> list[tuple[int, str]]:
    """Return the number and the shape of each line that has code, apart from imports, docstrings and declared fields.

    The shape has "n" for a name or constant, "s" for a string and "0" for a number, because a copy often changes these.
    """
    fields = field_lines(source)
    shapes: dict[int, list[str]] = defaultdict(list)
    statement: list[tokenize.TokenInfo] = []
    with tokenize.open(source) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type in (tokenize.NAME, tokenize.STRING, tokenize.NUMBER, tokenize.OP):
                statement.append(token)
            elif token.type == tokenize.NEWLINE:
                is_docstring = all(each.type == tokenize.STRING for each in statement)
                is_import, is_field = statement[0].string in ("import", "from"), statement[0].start[0] in fields
                for each in () if is_docstring or is_import or is_field else statement:
                    shapes[each.start[0]].append(_token_shape(each))
                statement.clear()
    return [(line, " ".join(shape)) for line, shape in sorted(shapes.items()) if any(map(str.isalnum, shape))]


def field_lines(source: Path) -> set[int]:
    """Return the numbers of the lines on which fields of classes are declared, such as the settings of a config."""
    classes = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.ClassDef)]
    return {field.lineno for each in classes for field in each.body if isinstance(field, ast.AnnAssign)}


def _token_shape(token: tokenize.TokenInfo) -> str:
    if token.type == tokenize.NAME and (token.string in CONSTANTS or not keyword.iskeyword(token.string)):
        return "n"
    return {tokenize.STRING: "s", tokenize.NUMBER: "0"}.get(token.type, token.string)


def repeated_passages() -> list[str]:
    """Return the pairs of places where the same passage begins."""
    code = {source: code_shapes(source) for source in source_files()}
    places: dict[tuple[str, ...], list[tuple[Path, int]]] = defaultdict(list)
    for source, lines in code.items():
        for first in range(len(lines) - PASSAGE_LINES + 1):
            passage = tuple(shape for _, shape in lines[first : first + PASSAGE_LINES])
            if len(set(passage)) >= PASSAGE_SHAPES:
                places[passage].append((source, first))
    pairs = {pair for same in places.values() for pair in combinations(same, 2)}
    begins = [((one, i), (other, j)) for (one, i), (other, j) in pairs if ((one, i - 1), (other, j - 1)) not in pairs]
    return sorted(
        " ~ ".join(f"{source.relative_to(ROOT)}:{code[source][first][0]}" for source, first in pair) for pair in begins
    )


def test_few_passages_of_code_are_repeated():
    found = repeated_passages()
    assert len(found) <= MOST_REPEATED_PASSAGES, "\n".join(found)


def test_stage_names_are_string_literals_in_few_places():
    """Check where stage names are spelt out, because adding, renaming or removing a stage changes all these places."""
    from clipes.tasks.stages.registry import STAGES

    allowed = {ROOT / "flows" / "pipeline.py", ROOT / "tasks" / "stages" / "registry.py"}
    exempt = set()
    for source in source_files():
        if source in allowed:
            continue
        in_stages = source.is_relative_to(ROOT / "tasks" / "stages")
        own = {source.stem, "candidate_texts", "evaluation_true_masks"} if in_stages else set()
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Constant) and node.value in STAGES.keys() - own:
                where = f"{source.relative_to(ROOT)}:{node.lineno}"
                exempt.add((where.partition(":")[0], node.value))
                assert exempt <= KEYS_OF_OTHER_THINGS, f"{where} names {node.value!r}"
    assert exempt == KEYS_OF_OTHER_THINGS


# These strings equal the name of a stage but mean something else.
KEYS_OF_OTHER_THINGS = {
    ("clipes_core/evaluation/scored.py", "segmenter"),  # key of its scores in metrics.json
    ("tasks/machine/shipped_files.py", "prompts"),  # the folder configs/prompts
    ("tasks/plan/run_inputs.py", "prompts"),  # the section of the config
    ("tasks/training/data/training_set.py", "masks"),  # training/ lies below stages/, and reads artifacts of this one
}


def test_every_folder_of_tasks_has_a_docstring():
    for folder in sorted((ROOT / "tasks").iterdir()):
        if folder.is_dir() and folder.name != "__pycache__":
            assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder


def test_tasks_has_no_modules_outside_its_folders():
    assert [path.name for path in (ROOT / "tasks").glob("*.py")] == ["__init__.py"]


def test_the_package_clipes_holds_only_links_its_entry_points_and_the_python_api():
    package = ROOT / "clipes"
    links = {path.name: path for path in package.iterdir() if path.is_symlink()}
    assert sorted(links) == ["configs", "flows", "tasks"], "a clone needs symbolic links: git config core.symlinks true"
    assert all(path.resolve() == ROOT / name for name, path in links.items())
    assert {path.name for path in package.glob("*.py")} == {"__init__.py", "__main__.py"}
    folders = {path.name for path in package.iterdir() if path.is_dir() and not path.is_symlink()}
    assert folders - {"__pycache__"} == {"api"}
