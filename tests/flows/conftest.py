"""The clipes command as a user calls it, and what it is called with."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.disturbed_runs import SHARDS

ROOT = Path(__file__).parents[2]
CLIPES = Path(sys.executable).with_name("clipes")


def _heeds_ctrl_c() -> None:
    """What a shell starts in the background ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True)
class Clipes:
    """The clipes command in a folder of its own.

    Attributes:
        folder: where it is called.
        environment: added to the process's.
    """

    folder: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(CLIPES), *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(CLIPES), *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_heeds_ctrl_c,
        )


@pytest.fixture(scope="session")
def clipes_in(server_environment) -> Callable[[Path], Clipes]:
    """The command in a folder that is given."""
    return lambda folder: Clipes(folder, server_environment)


@pytest.fixture
def clipes(tmp_path, clipes_in) -> Clipes:
    return clipes_in(tmp_path)


@dataclass(frozen=True)
class GoldenPhoto:
    """The published program's outputs on one photo."""

    class_ids: np.ndarray
    softmax_scores: np.ndarray
    cam: np.ndarray
    refined_cam: np.ndarray
    mask_rgb: np.ndarray
    confidence_rgb: np.ndarray
    mask_reference: np.ndarray
    confidence_reference: np.ndarray


@pytest.fixture(scope="session")
def golden_photos(golden) -> dict[str, GoldenPhoto]:
    return {path.stem: GoldenPhoto(**np.load(path)) for path in sorted(golden.glob("*.npz"))}


@pytest.fixture
def golden_arguments(tmp_path, configs, real_data, golden, golden_photos) -> list[str]:
    """`clipes run` on the nine golden photos with the weights they were made with, in two shards."""
    split = tmp_path / "nine.txt"
    split.write_text("\n".join(golden_photos) + "\n")
    return [
        "run",
        str(configs / "voc12.yaml"),
        *("--set", f"dataset.root={real_data}"),
        *("--set", f"dataset.split={split}"),
        *("--set", f"clip.pretrained={golden / 'small_vit.pt'}"),
        *("--set", "execution.shards=2", "--set", "train.enabled=false"),
    ]


@pytest.fixture(scope="session")
def some_photos(tmp_path_factory, configs, real_data, golden) -> tuple[str, ...]:
    """`clipes run` on some real photos in a few shards, a few seconds of work in each stage."""
    ids = (real_data / "ImageSets" / "Segmentation" / "train.txt").read_text().split()[:18]
    split = tmp_path_factory.mktemp("split") / "some.txt"
    split.write_text("\n".join(ids) + "\n")
    return (
        *("run", str(configs / "voc12.yaml")),
        *("--set", f"dataset.root={real_data}", "--set", f"dataset.split={split}"),
        *("--set", f"clip.pretrained={golden / 'small_vit.pt'}", "--set", "crf.iter_max=1"),
        *("--set", f"execution.shards={SHARDS}", "--set", "train.enabled=false"),
    )


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, clipes_in, some_photos) -> str:
    """The store of a run on them that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = clipes_in(folder)(*some_photos, "--store", str(folder))
    assert done.returncode == 0, done.stderr
    return str(folder)
