"""The content of the wheel, and the installed program next to a user's packages of the same names."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from setuptools import find_namespace_packages

ROOT = Path(__file__).parents[1]


def tracked(*patterns: str) -> list[str]:
    """Return the files of the repository that git tracks and that match the patterns."""
    command = ["git", "ls-files", *patterns]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def setuptools_settings() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_package_data_covers_all_files_of_configs_and_templates():
    patterns = setuptools_settings()["package-data"]["*"]
    files = tracked("configs", "tasks", "flows", "clipes_core")
    data = [Path(file).name for file in files if not file.endswith((".py", ".md"))]
    assert "clipes-demo.safetensors" in data
    assert [name for name in data if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def test_the_lock_has_a_hash_for_each_version_of_the_constraints():
    line = re.compile(r"(\S+==\S+) --hash=sha256:[0-9a-f]{64}")
    locked = [line.fullmatch(each) for each in (ROOT / "requirements.lock").read_text().splitlines()]
    assert all(locked)
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    assert sorted(map(normalised, constraints)) == sorted(normalised(each[1]) for each in locked), "run make lock"


def normalised(requirement: str) -> str:
    """Return NAME==VERSION with the name as package indexes spell it."""
    name, _, version = requirement.partition("==")
    return f"{re.sub('[-_.]+', '-', name).lower()}=={version}"


def test_packages_cover_all_python_files():
    packages = find_namespace_packages(str(ROOT), **setuptools_settings()["packages"]["find"])
    files = tracked("configs/*.py", "tasks/*.py", "flows/*.py", "clipes_core/*.py")
    modules = [file if file.startswith("clipes_core/") else f"clipes/{file}" for file in files]
    folders = {str(Path(module).parent).replace("/", ".") for module in modules}
    assert "clipes.configs.mmseg._base_" in folders
    assert folders <= set(packages)
    assert {package.partition(".")[0] for package in packages} == {"clipes", "clipes_core"}


def test_building_a_clone_without_symbolic_links_fails(tmp_path):
    """Build a clone in which files hold the targets of the links, as git writes them if it cannot create links."""
    shutil.copy(ROOT / "setup.py", tmp_path)
    (tmp_path / "clipes").mkdir()
    for name in ("flows", "tasks", "configs"):
        (tmp_path / "clipes" / name).write_text(f"../{name}")

    built = subprocess.run(
        [sys.executable, "setup.py", "--name"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert built.returncode == 1
    assert built.stderr.startswith("clipes: clipes/flows is a file, not a link to the folder flows/")
    assert "git config core.symlinks true" in built.stderr


def test_building_a_clone_with_an_older_build_fails(tmp_path):
    """Build a clone with an old build/lib/, whose folders setuptools would pack even if they are obsolete."""
    shutil.copy(ROOT / "setup.py", tmp_path)
    for name in ("clipes/flows", "clipes/tasks", "clipes/configs", "build/lib/clipes", "build/lib/tasks"):
        (tmp_path / name).mkdir(parents=True)

    built = subprocess.run(
        [sys.executable, "setup.py", "--name"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert built.returncode == 1
    assert built.stderr.startswith("clipes: build/lib/ holds files of an earlier build (tasks)")
    assert "Delete the folder build/" in built.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Install the built wheel in a new environment that shares the dependencies of this one; return its folder."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = folder / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)  # a build changes its folder
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run(wheel, check=True)
    venv.create(folder / "venv", with_pip=False)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    (built,) = folder.glob("*.whl")
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([*pip[:3], "--python", python, "install", "--quiet", "--no-deps", str(built)], check=True)
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv"


@pytest.mark.slow
def test_the_wheel_installs_only_the_packages_clipes_and_clipes_core(installed):
    (site,) = (installed / "lib").glob("python*/site-packages")
    found = {path.name for path in site.iterdir() if not path.name.endswith((".dist-info", ".pth"))}
    assert found == {"clipes", "clipes_core"}
    assert not any(path.is_symlink() for path in (site / "clipes").rglob("*"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_installed_program_ignores_a_users_packages_of_the_same_name(installed, tmp_path):
    """Run the program next to a user's packages; many Prefect users have a folder flows/."""
    for name in ("flows", "tasks", "configs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('this package is the user's')\n")
    demo = next(installed.glob("lib/python*/site-packages/clipes/configs/demo.yaml"))
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": "", "PYTHONPATH": ""}
    few = ("--set", "dataset.count=6", "--set", "execution.shards=1", "--set", "train.enabled=false")

    done = subprocess.run(
        [str(installed / "bin" / "clipes"), "run", str(demo), *few],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "Pseudo mask" in done.stdout
    assert len(list(tmp_path.glob("clipes-store/artifacts/masks/*/*.parquet"))) == 1
