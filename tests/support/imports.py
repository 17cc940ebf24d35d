"""What the source files of this repository import, read without running them."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYERS = ("flows", "tasks", "clipes_core")


def source_files(folder: str = "") -> list[Path]:
    """All modules of the project, or of one folder; never empty."""
    folders = [ROOT / folder] if folder else [ROOT / layer for layer in LAYERS]
    found = sorted(source for each in folders for source in each.rglob("*.py"))
    assert found, f"no modules found in {folder or LAYERS}"
    return found


def imported_modules(source: Path) -> set[str]:
    """Dotted names imported anywhere in `source`, inside functions included."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def under(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of some packages or modules, or lies in one."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
