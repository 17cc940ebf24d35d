"""What `prefect deploy` reads from the configs; see prefect.yaml."""

from pathlib import Path
from typing import Any

from clipes.tasks.inputs.configs import read_config


def described_run(path: str) -> dict[str, Any]:
    """A build step of prefect.yaml: a config file as the parameter of a deployment.

    Args:
        path: of the YAML, from the folder that `prefect deploy` is called in.

    Returns:
        `config`: the keys that the file sets, paths and {date} as they are; `folder`: where its paths begin.

    Raises:
        ConfigError: the file is missing, or a key or value cannot be used.
    """
    config = read_config(path).model_dump(mode="json", exclude_unset=True)
    return {"config": config, "folder": str(Path.cwd())}
