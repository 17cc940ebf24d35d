"""Read the files of an installed package without importing it, because importing torch or OpenCLIP takes seconds."""

from importlib.util import find_spec
from pathlib import Path
from runpy import run_path


def package_folder(name: str) -> Path:
    """Return the folder of an installed package.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the package {name} is not installed", name=name)
    return Path(next(iter(spec.submodule_search_locations)))


def package_version(name: str) -> str:
    """Return the version that an installed package states in its file `version.py`.

    The metadata of a package may lack a part of this version: they may state 2.14.1 for torch 2.14.1+cu130.
    """
    return str(run_path(str(package_folder(name) / "version.py"))["__version__"])
