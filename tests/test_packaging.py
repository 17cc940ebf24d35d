"""What a wheel holds: every file that the shipped configs consist of."""

import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

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
