"""The dependency rule of this repository: flows -> tasks -> clipes_core, never back."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "clipes_core": ("prefect", "clipes", "argparse", "logging", "os", "pathlib"),
    "tasks": ("clipes.flows",),
    "flows": ("torch", "numpy", "cv2", "PIL", "clipes_core"),
}
ALLOWED = {"flows": ("clipes_core.config", "clipes_core.errors")}
OLD_NAMES = ("tasks", "flows", "configs")  # under which a module would be loaded a second time


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
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_layer_imports_only_what_lies_below_it(layer):
    sources = sorted((ROOT / layer).rglob("*.py"))
    assert sources, f"no modules found in {layer}/"
    for source in sources:
        found = {
            name
            for name in imported_modules(source)
            if under(name, FORBIDDEN[layer]) and not under(name, ALLOWED.get(layer, ()))
        }
        assert not found, f"{source.relative_to(ROOT)} imports {sorted(found)}"


def test_nothing_is_imported_under_a_second_name():
    sources = [source for layer in FORBIDDEN for source in (ROOT / layer).rglob("*.py")]
    sources += [*(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    for source in sources:
        found = {name for name in imported_modules(source) if under(name, OLD_NAMES)}
        assert not found, f"{source.relative_to(ROOT)} imports {sorted(found)}"
