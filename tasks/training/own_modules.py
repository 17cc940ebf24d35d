"""Identify the source code of the modules that an MMSegmentation config lists in `custom_imports`."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from clipes.tasks.models.weight_files import file_digest
from clipes.tasks.plan.keys import digest

SHIPPED = ("clipes", "clipes_core")  # a change of their code raises the versions of the stages


def code_digests(names: Sequence[str]) -> tuple[str, ...]:
    """Return a digest of the source code of each module that does not belong to clipes.

    The digest of a module in a package covers all Python files of the package. It does not depend on the location of
    the files. Code that the module imports from elsewhere is not covered. A module that Python cannot find has the
    digest of no files: its import reports the error.

    Args:
        names: dotted names of the modules.
    """
    return tuple(_code_digest(name) for name in names if name.partition(".")[0] not in SHIPPED)


def _code_digest(name: str) -> str:
    files = sorted((path.relative_to(root.parent).as_posix(), path) for root in _roots(name) for path in _files(root))
    return digest([[place, file_digest(path)] for place, path in files])


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*.py") if path.is_file()] if root.is_dir() else [root]


def _roots(name: str) -> Iterator[Path]:
    """Yield the file of a module outside all packages, or the folder of the outermost package with an `__init__.py`.

    No module is imported.
    """
    first, *parts = name.split(".")
    try:
        spec = find_spec(first)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    if spec.origin is None:  # a namespace package: a folder without an __init__.py
        for folder in spec.submodule_search_locations or ():
            yield from _roots_below(Path(folder), parts)
    elif Path(spec.origin).is_file():
        yield Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)


def _roots_below(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    if not parts:
        return
    inner, file = folder / parts[0], folder / f"{parts[0]}.py"
    if (inner / "__init__.py").is_file():
        yield inner
    elif file.is_file():
        yield file
    else:
        yield from _roots_below(inner, parts[1:])
