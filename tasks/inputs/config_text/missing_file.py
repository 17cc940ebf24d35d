"""Explain why there is no config file at a path."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from clipes_core.config.uri import is_uri

SUFFIXES = (".yaml", ".yml")
MAX_NAMES = 3


def explain_missing(path: str) -> str:
    """Return a message about a config file that does not exist, with the files in its folder that may be meant.

    Args:
        path: path or URI of the config file. The folders of URIs are not searched.
    """
    if is_uri(path):
        return f"{path}: there is no such config file"
    if Path(path).is_dir():
        found = _configs(Path(path))
        advice = f"name one of the files in it: {_listed(found)}" if found else f"clipes init {path} writes one"
        return f"{path} is a folder, but a config is a YAML file: {advice}"
    found = _configs(Path(path).parent)
    by_name = {file.name: file for file in found}
    similar = [by_name[name] for name in get_close_matches(Path(path).name, by_name, n=MAX_NAMES)]
    if similar:
        advice = f"did you mean {' or '.join(map(str, similar))}?"
    elif found:
        advice = f"its folder has {_listed(found)}"
    else:
        advice = "clipes init FOLDER writes a config for a folder of photos"
    return f"{path}: there is no such config file; {advice}"


def _configs(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())


def _listed(files: Sequence[Path]) -> str:
    more = f" and {len(files) - MAX_NAMES} more" if len(files) > MAX_NAMES else ""
    return f"{', '.join(map(str, files[:MAX_NAMES]))}{more}"
