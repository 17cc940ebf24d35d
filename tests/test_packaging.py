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
from importlib.metadata import distribution, requires
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from setuptools import find_namespace_packages
from support.commands import without_announcements

from clipes import __version__
from clipes_core.config.extras import EXTRAS
from clipes_core.crf_backends import CRF_BACKENDS

ROOT = Path(__file__).parents[1]
LOCKED_EXTRAS = ("notebook", "s3", "train")  # those that the Makefile installs for `make demo`


def tracked(*patterns: str) -> list[str]:
    """Return the files of the repository that git tracks and that match the patterns."""
    command = ["git", "ls-files", *patterns]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def setuptools_settings() -> dict[str, Any]:
    return pyproject()["tool"]["setuptools"]


def test_package_data_covers_all_files_of_configs_and_templates():
    patterns = setuptools_settings()["package-data"]["*"]
    files = tracked("configs", "tasks", "flows", "clipes_core")
    data = [Path(file).name for file in files if not file.endswith((".py", ".md"))]
    assert "clipes-demo.safetensors" in data
    assert [name for name in data if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def pinned_versions(file: str) -> dict[str, str]:
    """Return the version of each package in a file with lines NAME==VERSION [--hash=sha256:...]."""
    line = re.compile(r"(\S+)==(\S+)( --hash=sha256:[0-9a-f]{64})?")
    lines = [line.fullmatch(each) for each in (ROOT / file).read_text().splitlines()]
    assert all(lines)
    assert len({bool(each[3]) for each in lines}) == 1
    return {canonicalize_name(each[1]): each[2] for each in lines}


def needed_packages(requirements: list[str]) -> set[str]:
    """Return the names of the packages that this machine needs for some requirements, which are installed."""
    seen, left = set(), [Requirement(each) for each in requirements]
    while left:
        requirement = left.pop()
        for extra in ("", *requirement.extras):
            if (requirement.name, extra) not in seen:
                seen.add((requirement.name, extra))
                further = map(Requirement, requires(requirement.name) or ())
                left += [each for each in further if each.marker is None or each.marker.evaluate({"extra": extra})]
    return {canonicalize_name(name) for name, _ in seen}


def test_the_lock_has_the_versions_of_the_constraints():
    assert pinned_versions("requirements.lock").items() <= pinned_versions("constraints.txt").items(), "run make lock"


@pytest.mark.skipif(
    (sys.version_info[:2], sysconfig.get_platform()) != ((3, 11), "linux-x86_64"),
    reason="requirements.lock is for Linux on x86-64 with CPython 3.11",
)
def test_the_lock_has_exactly_the_packages_that_clipes_needs():
    project = pyproject()["project"]
    extras = [each for name in LOCKED_EXTRAS for each in project["optional-dependencies"][name]]
    needed = needed_packages([*project["dependencies"], *extras])
    assert pinned_versions("requirements.lock").keys() == needed, "run make lock"


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="pydensecrf2 cannot be installed on Python 3.13")
def test_the_oracle_of_the_crf_is_installed():
    """Fail if pydensecrf is missing, because the tests that need it would only be skipped."""
    assert find_spec("pydensecrf"), "run pip install 'clipes[dev]'"


def test_clipes_names_the_versions_of_python_that_were_tried():
    project = pyproject()["project"]
    tried = [each.rpartition(" ")[2] for each in project["classifiers"] if each.startswith("Programming Language")]
    allowed = SpecifierSet(project["requires-python"])
    assert [f"3.{minor}" for minor in range(20) if allowed.contains(f"3.{minor}.9")] == tried


def test_the_extras_that_messages_name_are_those_that_are_declared():
    declared = pyproject()["project"]["optional-dependencies"].keys()
    assert {extra.name for extra in EXTRAS} == declared - {"all", "dev"}
    assert {row.extra for row in CRF_BACKENDS.values()} <= {None, *EXTRAS}


def test_the_extra_all_has_every_extra_that_needs_no_compiler():
    (entry,) = pyproject()["project"]["optional-dependencies"]["all"]
    assert Requirement(entry).extras == {extra.name for extra in EXTRAS} - {"pydensecrf"}


def test_packages_cover_all_python_files():
    packages = find_namespace_packages(str(ROOT), **setuptools_settings()["packages"]["find"])
    files = tracked("configs/*.py", "tasks/*.py", "flows/*.py", "clipes_core/*.py")
    modules = [file if file.startswith("clipes_core/") else f"clipes/{file}" for file in files]
    folders = {str(Path(module).parent).replace("/", ".") for module in modules}
    assert "clipes.configs.mmseg._base_" in folders
    assert folders <= set(packages)
    assert {package.partition(".")[0] for package in packages} == {"clipes", "clipes_core"}


def test_the_store_of_a_run_in_the_clone_is_no_package(tmp_path):
    for name in ("clipes/flows", "clipes_core/vit", "clipes-store/artifacts", "clipes.egg-info"):
        (tmp_path / name).mkdir(parents=True)
    packages = find_namespace_packages(str(tmp_path), **setuptools_settings()["packages"]["find"])
    assert sorted(packages) == ["clipes", "clipes.flows", "clipes_core", "clipes_core.vit"]


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
def test_the_wheel_states_its_licence(installed):
    (metadata,) = installed.glob("lib/python*/site-packages/clipes-*.dist-info/METADATA")
    assert "License-Expression: MIT\n" in metadata.read_text()
    assert (metadata.parent / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_citation_states_the_version_and_the_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (__version__, pyproject()["project"]["license"])


def test_the_project_links_the_paper_that_the_citation_names():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert pyproject()["project"]["urls"]["Paper"] == citation["preferred-citation"]["url"]


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


@pytest.fixture(scope="module")
def base(installed, tmp_path_factory) -> Path:
    """Make an environment with the wheel and the packages that it needs without any extra; return its Python."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder, with_pip=False)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (wheel,) = (installed / "lib").glob("python*/site-packages")
    shared = Path(sysconfig.get_path("purelib"))
    for name in needed_packages(pyproject()["project"]["dependencies"]):
        for entry in {file.parts[0] for file in distribution(name).files or () if file.parts[0] != ".."}:
            link(shared / entry, site / entry)
    for path in wheel.glob("clipes*"):
        link(path, site / path.name)
    return folder / "bin" / "python"


def link(target: Path, place: Path) -> None:
    """Link to a file or folder; packages such as those of NVIDIA share a folder."""
    if not place.exists():
        place.symlink_to(target)


def run_python(python: Path, code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": "", "MPLBACKEND": "agg"}
    command = [str(python), "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_five_lines_of_the_readme_run_from_the_wheel_without_any_extra(base, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    absent = [extra.module for extra in EXTRAS]
    check = f"""
from importlib.util import find_spec
assert not [name for name in {absent} if find_spec(name)]
{code}
print(clipes.__file__, found.mask.shape, found.foreground > 0)
"""
    done = run_python(base, check, tmp_path)
    assert done.returncode == 0, done.stderr
    file, _, rest = done.stdout.partition(" ")
    assert Path(file).parents[1] != ROOT
    assert rest == "(160, 160) True\n"
    assert not list(tmp_path.iterdir())


COMMANDS = {  # arguments of the program -> what its only line must contain
    ("run", "{configs}/demo.yaml"): "train.enabled=true: the package mmseg is not installed; set train.enabled=false, "
    "or run pip install 'clipes[train]', which needs 160 MB of disk space",
    ("run", "{configs}/demo.yaml", "--set", "train.enabled=false", "--set", "execution.runner.kind=ray"): "pip install "
    "'clipes[ray]'",
    ("run", "{configs}/demo.yaml", "--set", "train.enabled=false", "--store", "s3://bucket/store"): "s3://bucket/store"
    ": the package s3fs is not installed; run pip install 'clipes[s3]', which needs 25 MB of disk space",
    ("status", "demo", "--store", "s3://bucket/store"): "pip install 'clipes[s3]'",
}


@pytest.mark.slow
@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_missing_extra_is_one_line_with_the_command_that_installs_it(base, tmp_path, arguments):
    configs = next(Path(base).parents[1].glob("lib/python*/site-packages/clipes/configs"))
    given = [each.format(configs=configs) for each in arguments]
    code = f"import sys; sys.argv = ['clipes', *{given!r}]; from clipes.__main__ import main; main()"
    done = run_python(base, code, tmp_path)
    assert done.returncode in (1, 2), done.stderr
    assert COMMANDS[arguments] in done.stderr
    assert len(without_announcements(done.stderr).splitlines()) == 1
    assert not done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_masks_are_made_and_read_without_any_extra_and_a_table_names_the_extra_that_it_needs(base, tmp_path):
    code = """
import clipes
demo = {"model": "clipes-demo", "pretrained": "clipes-demo"}
scenes = {"format": "scenes", "classes": "scenes", "count": 3}
run = clipes.run({"name": "few", "dataset": scenes}, clip=demo, execution={"shards": 1}, train={"enabled": False})
print(run, run[0].status, run.scores["pseudo_mask"]["images"])
for use in (run.to_pandas, lambda: __import__("clipes.tasks.commands.predictions")):
    try:
        use()
    except clipes.ClipesError as error:
        print(error)
"""
    done = run_python(base, f"import os; os.environ['PREFECT_HOME'] = {str(tmp_path / 'prefect')!r}\n{code}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Run('few', 3 photos, status='completed') ok 3",
        "Run.to_pandas: the package pandas is not installed; run pip install 'clipes[notebook]', which needs 80 MB of "
        "disk space",
        "the segmenter: the package mmseg is not installed; run pip install 'clipes[train]', which needs 160 MB of "
        "disk space",
    ]
