"""The build step in prefect.yaml that reads the config of a deployment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipes.tasks.inputs.configs import read_config


def described_run(path: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read the config file of a deployment. `prefect deploy` calls this function as a build step of prefect.yaml.

    Args:
        path: path of the YAML file, relative to the folder in which `prefect deploy` is called.
        overrides: keys with other values than in the file, such as cam.power=1; the form is that of `clipes run --set`.

    Returns:
        Two entries. `config` has the keys and values that the file sets; {date} stays unchanged. `folder` is the
        absolute path of the current folder. Relative paths in `config` start at this folder; a relative path that
        exists only next to the file is absolute.

    Raises:
        ConfigError: the file is missing, or a key or value is invalid.
    """
    config = read_config(path, overrides, runs_here=False).model_dump(mode="json", exclude_unset=True)
    return {"config": config, "folder": str(Path.cwd())}
