"""The import rules: clipes/api -> flows -> tasks -> clipes_core, never back; and a table for folders of tasks/."""

import ast

import pytest
from support.imports import ROOT, imported_modules, source_files, under

FORBIDDEN = {
    "clipes/api": ("prefect", "clipes.flows.cli", "clipes.flows.terminal"),
    "clipes_core": ("prefect", "clipes", "argparse", "logging", "os", "pathlib"),
    "tasks": ("clipes.api", "clipes.flows"),
    "flows": ("clipes.api", "torch", "numpy", "cv2", "PIL", "clipes_core"),
}
ALLOWED = {"flows": ("clipes_core.config", "clipes_core.errors", "clipes_core.evaluation.scored")}
FOLDERS = {  # folder of tasks/ -> the folders that it may import; docs/architecture.md draws them
    "machine": (),
    "storage": ("machine",),
    "inputs": ("machine", "storage"),
    "models": ("machine", "storage", "inputs"),
    "plan": ("storage", "inputs"),
    "training": ("machine", "storage", "inputs", "models", "plan"),
    "stages": ("machine", "storage", "inputs", "models", "plan", "training"),
    "runs": ("machine", "storage", "inputs", "models", "plan", "training", "stages"),
    "ui": ("machine", "stages", "runs"),  # the stage objects state the names, units and order that tables show
    "execution": ("machine", "storage", "inputs", "models", "plan", "training", "stages", "runs", "ui"),
    "report": ("machine", "storage", "inputs", "plan", "stages", "runs", "ui"),
    "ablation": ("machine", "storage", "inputs", "plan", "stages", "runs", "report"),
    "commands": ("machine", "storage", "inputs", "models", "plan", "stages", "runs", "ablation"),
}
SECOND_NAMES = ("tasks", "flows", "configs")  # these names would import the modules of clipes a second time


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_a_layer_imports_only_from_the_layers_below(layer):
    for source in source_files(layer):
        found = {
            name
            for name in imported_modules(source)
            if under(name, FORBIDDEN[layer]) and not under(name, ALLOWED.get(layer, ()))
        }
        assert not found, f"{source.relative_to(ROOT)} imports {sorted(found)}"


def test_every_folder_of_tasks_is_in_the_table():
    folders = {path.name for path in (ROOT / "tasks").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_of_tasks_imports_only_permitted_folders(folder):
    permitted = tuple(f"clipes.tasks.{name}" for name in (folder, *FOLDERS[folder]))
    for source in source_files(f"tasks/{folder}"):
        names = {name for name in imported_modules(source) if under(name, ("clipes.tasks",))}
        found = {name for name in names if not under(name, permitted)}
        assert not found, f"{source.relative_to(ROOT)} imports {sorted(found)}"


@pytest.mark.parametrize("forbidden", ["clipes.flows.cli", "clipes.tasks.storage.parquet", "tasks.plan"])
def test_the_rules_detect_forbidden_imports(forbidden, tmp_path):
    """Check that the tests of the rules cannot pass because their comparison of names never matches."""
    source = tmp_path / "module.py"
    source.write_text(f"def late():\n    import {forbidden}\n    from {forbidden} import name\n")
    assert imported_modules(source) == {forbidden, f"{forbidden}.name"}
    rules = (FORBIDDEN["tasks"], ("clipes.tasks.storage",), SECOND_NAMES)
    assert any(under(name, rule) for rule in rules for name in imported_modules(source))


def test_no_module_is_imported_under_a_second_name():
    sources = [*source_files(), *source_files("tests"), *source_files("benchmarks"), *source_files("configs")]
    for source in sources:
        found = {name for name in imported_modules(source) if under(name, SECOND_NAMES)}
        assert not found, f"{source.relative_to(ROOT)} imports {sorted(found)}"


def test_imports_are_absolute():
    for source in source_files():
        relative = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.ImportFrom)]
        assert all(node.level == 0 for node in relative), source.relative_to(ROOT)
