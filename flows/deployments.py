"""The build step that gives a deployment its config; see prefect.yaml."""

from pathlib import Path
from typing import Any

from clipes.tasks.inputs.configs import read_config


def described_run(path: str) -> dict[str, Any]:
    """Read a config file as the parameter of a deployment; prefect.yaml calls this as a build step.

    Args:
        path: path of the YAML, relative to the folder that `prefect deploy` is called in.

    Returns:
        `config`: the keys that the file sets, with relative paths and {date} unchanged; `folder`: the absolute folder
        that relative paths start from.

    Raises:
        ConfigError: the file is missing, or a key or value is invalid.
    """
    config = read_config(path).model_dump(mode="json", exclude_unset=True)
    return {"config": config, "folder": str(Path.cwd())}
