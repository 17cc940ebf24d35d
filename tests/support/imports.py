"""The imports of the source files of this repository, read without running the files."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYERS = ("clipes/api", "flows", "tasks", "clipes_core")


def source_files(folder: str = "") -> list[Path]:
    """Return the source files of the project, or of one folder; never an empty list."""
    folders = [ROOT / folder] if folder else [ROOT / layer for layer in LAYERS]
    found = sorted(source for each in folders for source in each.rglob("*.py"))
    assert found, f"no modules found in {folder or LAYERS}"
    return found


def imported_modules(source: Path) -> set[str]:
    """Return the dotted names that a source file imports, including imports inside functions."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def under(name: str, prefixes: tuple[str, ...]) -> bool:
    """Return whether a dotted name is one of the packages or modules `prefixes`, or is inside one of them."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
