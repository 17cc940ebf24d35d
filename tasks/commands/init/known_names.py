"""The names by which `clipes init` recognises what a folder, a column or a cell means; see configs/init/names.yaml."""

from functools import cache

import yaml

from clipes.tasks.machine.shipped_files import INIT_NAMES


@cache
def known_names(kind: str) -> frozenset[str]:
    """Return the names of a kind, in lower case, such as `label_columns`."""
    return _all_names()[kind]


@cache
def _all_names() -> dict[str, frozenset[str]]:
    values = yaml.safe_load(INIT_NAMES.read_text(encoding="utf-8"))
    return {kind: frozenset(names) for kind, names in values.items()}
