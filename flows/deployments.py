"""The build step in prefect.yaml that gives a deployment its config."""

from pathlib import Path
from typing import Any

from clipes.tasks.inputs.configs import read_config


def described_run(path: str) -> dict[str, Any]:
    """Read a config file as parameters of a deployment. prefect.yaml calls this function as a build step.

    Args:
        path: path of the YAML file, relative to the folder in which `prefect deploy` is called.

    Returns:
        Two entries. `config` has the keys and values that the file sets; relative paths and {date} stay unchanged.
        `folder` is the absolute path of the folder from which relative paths start.

    Raises:
        ConfigError: the file is missing, or a key or value is invalid.
    """
    config = read_config(path).model_dump(mode="json", exclude_unset=True)
    return {"config": config, "folder": str(Path.cwd())}
