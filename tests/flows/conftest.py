"""Fixtures that call the clipes command as a user does, and the arguments for these calls."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.commands import ClipesHere, ClipesProcess, settings
from support.disturbed_runs import SHARDS
from support.voc_scenes import write_split, write_voc_scenes

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def clipes_in(server_environment) -> Callable[[Path], ClipesHere]:
    """Return a function that returns the command, run inside this process, for a folder."""
    return lambda folder: ClipesHere(folder, server_environment)


@pytest.fixture
def clipes(tmp_path, clipes_in) -> ClipesHere:
    """Return the command in a new folder, run inside this process, for tests that do not test processes."""
    return clipes_in(tmp_path)


@pytest.fixture
def clipes_process(tmp_path, server_environment) -> ClipesProcess:
    """Return the command in a new folder, run as a separate process, which a test can kill."""
    return ClipesProcess(tmp_path, server_environment)


@pytest.fixture
def without_weights(tmp_path, server_environment) -> ClipesProcess:
    """Return the command in a new folder, on a machine that has no downloaded weights and cannot download any."""
    hub = {"HF_HOME": str(tmp_path / "cache"), "HF_ENDPOINT": "http://127.0.0.1:9"}
    return ClipesProcess(tmp_path, server_environment | hub)


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
    """Return the arguments of a run on the nine golden photos with the golden weights, in two shards."""
    split = tmp_path / "nine.txt"
    split.write_text("\n".join(golden_photos) + "\n")
    return [
        "run",
        str(configs / "voc12.yaml"),
        *settings(
            f"dataset.root={real_data}",
            f"dataset.split={split}",
            f"clip.pretrained={golden / 'small_vit.pt'}",
            "execution.shards=2",
            "train.enabled=false",
        ),
    ]


@pytest.fixture(scope="session")
def scene_arguments(configs, scene_photos, seeded_weights) -> tuple[str, ...]:
    """Return the arguments of a run on nine small scenes with a small CLIP, in two shards."""
    return (
        "run",
        str(configs / "voc12.yaml"),
        *settings(
            f"dataset.root={scene_photos}",
            "dataset.split=nine",
            f"clip.pretrained={seeded_weights}",
            "execution.shards=2",
            "train.enabled=false",
        ),
    )


@pytest.fixture(scope="session")
def long_run_arguments(tmp_path_factory, configs, seeded_weights) -> tuple[str, ...]:
    """Return the arguments of a run on 18 large scenes, in which each stage takes a few seconds."""
    root, image_ids = tmp_path_factory.mktemp("some"), tuple(f"scene_{number:02}" for number in range(18))
    write_voc_scenes(root, image_ids, scale=3)
    write_split(root, "some", image_ids)
    return (
        "run",
        str(configs / "voc12.yaml"),
        *settings(
            f"dataset.root={root}",
            "dataset.split=some",
            f"clip.pretrained={seeded_weights}",
            "crf.iter_max=1",
            f"execution.shards={SHARDS}",
            "train.enabled=false",
        ),
    )


@pytest.fixture(scope="session")
def uninterrupted_store(tmp_path_factory, server_environment, long_run_arguments) -> str:
    """Return the store of an uninterrupted run with `long_run_arguments`.

    Like the runs that are compared with it, it is a separate process: earlier tests in this process cannot change it.
    """
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = ClipesProcess(folder, server_environment)(*long_run_arguments, "--store", str(folder))
    assert done.returncode == 0, done.stderr
    return str(folder)
