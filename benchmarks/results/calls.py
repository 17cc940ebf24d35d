"""Call the clipes command with the demo's config, and read the files of its runs."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from clipes.tasks.ablation.grid_file import GRIDS
from clipes.tasks.ablation.record import read_result
from clipes.tasks.ablation.result import AblationResult
from clipes.tasks.storage.run_files import RunFiles

ROOT = Path(__file__).parents[2]
CONFIG = "configs/demo.yaml"


@dataclass(frozen=True)
class Clipes:
    """The clipes command with the demo's config.

    Attributes:
        store: folder of artifacts and runs.
        settings: settings of all calls, each as KEY=VALUE.
    """

    store: str
    settings: Sequence[str] = ()

    def run(self, command: str, name: str, *options: str, settings: Sequence[str] = ()) -> RunFiles:
        """Call a command, and return the files of the run that it makes.

        Args:
            command: name of the command.
            name: name of the run.
            options: further options of the command.
            settings: further settings, each as KEY=VALUE.

        Raises:
            CalledProcessError: the command fails.
        """
        overrides = [word for setting in (*self.settings, *settings) for word in ("--set", setting)]
        call = [sys.executable, "-m", "clipes", command, CONFIG, "--name", name, "--store", self.store]
        subprocess.run([*call, *options, *overrides], cwd=ROOT, check=True)
        return RunFiles(self.store, name)

    def ablation(self, name: str, **keys: Any) -> AblationResult:
        """Run a shipped grid, and return its result.

        Args:
            name: name of the grid.
            keys: keys of the grid that replace those of its file, such as `seeds`.
        """
        with TemporaryDirectory() as folder:
            grid = Path(folder, f"{name}.yaml")
            grid.write_text(yaml.safe_dump({**shipped(name), **keys}, sort_keys=False))
            files = self.run("ablate", f"results-{name}", "--grid", str(grid))
        result = read_result(files.store_uri, files.name)
        if result is None:
            raise FileNotFoundError(f"{files.folder} has no results")
        return result


def shipped(name: str) -> Mapping[str, Any]:
    """Return the content of the file of a shipped grid."""
    content: Mapping[str, Any] = yaml.safe_load((GRIDS / f"{name}.yaml").read_text())
    return content
