"""Read a grid from its YAML file."""

from collections.abc import Hashable
from pathlib import PurePath
from typing import Any

import yaml
from typing_extensions import override

from clipes.tasks.ablation.grid import Grid, or_similar
from clipes.tasks.ablation.grid_checks import problems_of_grid
from clipes.tasks.inputs.config_text.yaml_text import NUMBER_TAGS, check_yaml
from clipes.tasks.machine.shipped_files import CONFIGS
from clipes.tasks.storage.user_files import read_text
from clipes_core.config.run import check_section
from clipes_core.errors import ConfigError, DatasetError

GRIDS = CONFIGS / "ablations"  # the grids that clipes ships
SUFFIXES = (".yaml", ".yml")


def load_grid(name: str) -> Grid:
    """Read and check a grid.

    Args:
        name: name of a grid that clipes ships, or path or URI of a YAML file.

    Raises:
        ConfigError: there is no such grid, or it has a mistake. The message has one line per mistake.
    """
    place = name if "/" in name or name.endswith(SUFFIXES) else str(GRIDS / f"{name}.yaml")
    values = _read(name, place)
    try:
        grid = check_section(Grid, {**values, "name": PurePath(place).stem})
    except ConfigError as exc:
        raise ConfigError("\n".join(f"{place}: {line}" for line in str(exc).splitlines())) from exc
    if problems := list(problems_of_grid(grid)):
        raise ConfigError("\n".join(f"{place}: {problem}" for problem in problems))
    return grid


class _KeysAsWritten(yaml.SafeLoader):
    """Loads YAML like `yaml.safe_load`, but a key that YAML reads as a number stays as it is written, such as 010."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        self.flatten_mapping(node)  # adds the keys of `<<`
        for key, _ in node.value:
            if key.tag in NUMBER_TAGS:
                key.tag = self.DEFAULT_SCALAR_TAG
        return super().construct_mapping(node, deep)


def _read(name: str, place: str) -> dict[str, Any]:
    try:
        text = read_text(place)
        check_yaml(text)
        values = yaml.load(text, Loader=_KeysAsWritten)
    except FileNotFoundError as exc:
        shipped = sorted(file.stem for file in GRIDS.glob("*.yaml"))
        advice = or_similar(name, shipped) if place != name else "; name a YAML file, or a grid that clipes ships"
        raise ConfigError(f"--grid {name}: there is no such grid{advice}") from exc
    except DatasetError as exc:
        raise ConfigError(f"--grid {name}: {exc}") from exc
    except (yaml.YAMLError, ValueError) as exc:
        raise ConfigError(f"{place}: cannot be read as YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(values, dict):
        raise ConfigError(f"{place}: expected keys such as title, axes and show")
    for key in values:
        if not isinstance(key, str) or key == "name":
            raise ConfigError(f"{place}: {key}: unknown key; delete it")
    return values
