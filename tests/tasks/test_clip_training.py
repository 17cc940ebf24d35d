"""The training of the demo's CLIP, on a network small enough for a test."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from open_clip.factory import add_model_config
from safetensors.torch import load_file

from clipes_core.config import ClipConfig
from clipes_core.demo.training import TrainingConfig
from clipes_core.errors import ConfigError
from tasks.clip_training import train_clip
from tasks.weights import load_clip

ROOT = Path(__file__).parents[2]
TEMPLATES = ("a photo of a {}.", "a {}.")
ARCHITECTURE = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "layers": 2, "width": 16, "head_width": 8},
    "text_cfg": {"context_length": 32, "width": 16, "heads": 2, "layers": 1},
}
CONFIG = TrainingConfig(samples=64, batch=16, captions=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The name of a network that OpenCLIP knows from now on."""
    path = tmp_path_factory.mktemp("models") / "tiny-scenes-clip.json"
    path.write_text(json.dumps(ARCHITECTURE))
    add_model_config(path)
    return path.stem


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch):
    """Rounds of 32 scenes, and a checkpoint after every step; in one process, without compiling."""
    monkeypatch.setattr("tasks.clip_training.ROUND", 32)
    monkeypatch.setattr("tasks.clip_training.CHECKPOINT_STEPS", 1)
    monkeypatch.setattr("tasks.clip_training._compile", lambda model: None)


class InterruptedTrainingError(Exception):
    """Raised in place of a signal."""


def test_trains_and_leaves_weights_that_load(tiny, tmp_path):
    weights = train_clip(tiny, CONFIG, TEMPLATES, tmp_path)
    assert weights == tmp_path / "weights.safetensors"
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.float16}
    clip = load_clip(ClipConfig(model=tiny, pretrained=str(weights)))
    assert clip.tokenizer(["a car"]).shape == (1, 32)
    log = (tmp_path / "log.txt").read_text()
    assert log.startswith("step 4/4 samples 64 loss ")
    assert "logit_scale" in log


def test_goes_on_after_an_interruption_as_if_there_had_been_none(tiny, tmp_path, monkeypatch):
    whole = load_file(train_clip(tiny, CONFIG, TEMPLATES, tmp_path / "whole"))
    other_seed = CONFIG.model_copy(update={"seed": 1})
    assert any(
        (whole[name] != tensor).any()
        for name, tensor in load_file(train_clip(tiny, other_seed, TEMPLATES, tmp_path / "other")).items()
    )
    folder = tmp_path / "parts"
    saves = []

    def save_and_stop(path, state):
        torch.save(state, path)
        saves.append(state["step"])
        if state["step"] == 2:
            raise InterruptedTrainingError

    with monkeypatch.context() as patch:
        patch.setattr("tasks.clip_training._save", save_and_stop)
        with pytest.raises(InterruptedTrainingError):
            train_clip(tiny, CONFIG, TEMPLATES, folder)
    assert saves == [1, 2]
    assert not (folder / "weights.safetensors").exists()
    resumed = load_file(train_clip(tiny, CONFIG, TEMPLATES, folder))
    for name, tensor in whole.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=1e-3, atol=1e-4)


def test_refuses_the_checkpoint_of_another_training(tiny, tmp_path):
    train_clip(tiny, CONFIG, TEMPLATES, tmp_path)
    with pytest.raises(ConfigError, match=r"checkpoint.pt is of another training: name another folder, or delete it"):
        train_clip(tiny, CONFIG, TEMPLATES[:1], tmp_path)


@pytest.mark.slow
def test_the_command_survives_kill_9_and_goes_on(tmp_path):
    """The real network, a few steps, killed after its first checkpoint."""
    command = [sys.executable, "-m", "flows.demo_clip", str(tmp_path), "--samples", "2000"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    first = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    assert first.stderr is not None
    for line in first.stderr:
        if line.startswith("checkpoint"):
            break
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not (tmp_path / "weights.safetensors").exists()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "going on after step" in done.stderr
    assert (tmp_path / "weights.safetensors").stat().st_size < 16e6
