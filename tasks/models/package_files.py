"""Read the files of an installed package without importing it, because importing torch or OpenCLIP takes seconds."""

from runpy import run_path

from clipes.tasks.machine.shipped_files import package_folder


def package_version(name: str) -> str:
    """Return the version that an installed package states in its file `version.py`.

    The metadata of a package may lack a part of this version: they may state 2.14.1 for torch 2.14.1+cu130.
    """
    return str(run_path(str(package_folder(name) / "version.py"))["__version__"])
