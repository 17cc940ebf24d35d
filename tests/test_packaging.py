"""What a wheel holds: every file that the shipped configs consist of."""

import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from setuptools import find_namespace_packages

ROOT = Path(__file__).parents[1]


def test_package_data_covers_all_files_of_configs_and_templates():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = pyproject["tool"]["setuptools"]["package-data"]["*"]
    listed = subprocess.run(
        ["git", "ls-files", "configs", "tasks", "flows", "clipes_core"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    data = [Path(line).name for line in listed.stdout.splitlines() if not line.endswith((".py", ".md"))]
    assert "clipes-demo.safetensors" in data
    assert [name for name in data if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def test_packages_cover_all_python_files():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = find_namespace_packages(str(ROOT), **pyproject["tool"]["setuptools"]["packages"]["find"])
    listed = subprocess.run(
        ["git", "ls-files", "configs/*.py", "tasks/*.py", "flows/*.py", "clipes_core/*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = [line if line.startswith("clipes_core/") else f"clipes/{line}" for line in listed.stdout.splitlines()]
    folders = {str(Path(module).parent).replace("/", ".") for module in modules}
    assert "clipes.configs.mmseg._base_" in folders
    assert folders <= set(packages)
    assert {package.partition(".")[0] for package in packages} == {"clipes", "clipes_core"}
