"""The training of the demo's CLIP, with a network small enough for a test."""

import json
import os
import re
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from support.commands import end_at_ctrl_c
from support.process_watch import all_end_within

from clipes.tasks.inputs.config_text.architectures import MODEL_FOLDERS
from clipes.tasks.models.clip import load_clip
from clipes.tasks.models.demo_clip_training import Pace, open_training, training_steps, write_weights
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.demo.template_uses import TemplateUse
from clipes_core.demo.training import TrainingConfig
from clipes_core.errors import ConfigError, WeightsError

ROOT = Path(__file__).parents[3]
USES = (TemplateUse("a photo of a {}."), TemplateUse("a {}.", weight=2, reliability=0.5, single=True))
ARCHITECTURE = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "layers": 2, "width": 16, "head_width": 8},
    "text_cfg": {"context_length": 32, "width": 16, "heads": 2, "layers": 1},
}
CONFIG = TrainingConfig(samples=64, batch=16, captions=1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Add a network to the known models and return its name."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "tiny-scenes-clip.json").write_text(json.dumps(ARCHITECTURE))
    MODEL_FOLDERS.append(folder)
    yield "tiny-scenes-clip"
    MODEL_FOLDERS.remove(folder)


def train(tiny, folder, config=CONFIG, uses=USES, steps=None, image_from=None):
    """Train all steps or the first ones, in batches of 32 scenes, with a checkpoint after every second step."""
    trainer = open_training(tiny, config, uses, folder, image_from)
    pace = Pace(scenes=32, checkpoint_steps=2, compiled=False)
    done = list(islice(training_steps(trainer, uses, folder, pace), steps))
    return done, write_weights(trainer, folder)


def test_a_training_writes_weights_that_can_be_loaded(tiny, tmp_path):
    done, weights = train(tiny, tmp_path)
    assert done == [1, 2, 3, 4]
    assert weights == tmp_path / "weights.safetensors"
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.float16}
    clip = load_clip(ClipConfig(model=tiny, pretrained=str(weights)))
    assert clip.tokenizer(["a car"]).shape == (1, 32)
    log = (tmp_path / "log.txt").read_text()
    assert log.startswith("step 4/4 samples 64 loss ")
    assert "logit_scale" in log


def test_a_resumed_training_ends_like_an_uninterrupted_one(tiny, tmp_path):
    _, whole = train(tiny, tmp_path / "whole")
    assert train(tiny, tmp_path / "parts", steps=3)[0] == [1, 2, 3]  # the last checkpoint is of step 2
    done, resumed = train(tiny, tmp_path / "parts")
    assert done == [3, 4]
    expected, actual = load_file(whole), load_file(resumed)
    for name, tensor in expected.items():
        torch.testing.assert_close(actual[name], tensor, rtol=1e-3, atol=1e-4)
    _, other = train(tiny, tmp_path / "other", CONFIG.model_copy(update={"seed": 1}))
    assert any((expected[name] != tensor).any() for name, tensor in load_file(other).items())


def test_a_checkpoint_of_another_training_is_refused(tiny, tmp_path):
    train(tiny, tmp_path, steps=2)
    with pytest.raises(
        ConfigError, match=r"checkpoint.pt belongs to a training run with different settings: delete it"
    ):
        train(tiny, tmp_path, uses=USES[:1])


def test_the_image_network_can_start_from_earlier_weights_and_the_text_network_cannot(tiny, tmp_path):
    _, weights = train(tiny, tmp_path / "first")
    earlier = load_file(weights)
    started = open_training(tiny, CONFIG, USES, tmp_path / "second", str(weights)).model.state_dict()
    random = open_training(tiny, CONFIG, USES, tmp_path / "third").model.state_dict()
    for name, tensor in earlier.items():
        expected = tensor.float() if name.startswith("visual.") else random[name]
        torch.testing.assert_close(started[name], expected)
    with pytest.raises(ConfigError, match="different settings"):
        open_training(tiny, CONFIG, USES, tmp_path / "third", str(weights))
    with pytest.raises(WeightsError, match=r"missing\.safetensors"):
        open_training(tiny, CONFIG, USES, tmp_path / "fourth", str(tmp_path / "missing.safetensors"))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 half an archive"])
def test_a_damaged_checkpoint_is_an_error(tiny, tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(ConfigError, match=r"checkpoint.pt is damaged: delete it to start again"):
        train(tiny, tmp_path)


KILLED = """
import logging, sys
from pathlib import Path
from clipes.tasks.models.demo_clip_training import DEMO_MODEL, Pace, train_clip
from clipes_core.demo.template_uses import TemplateUse
from clipes_core.demo.training import TrainingConfig

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    pace = Pace(scenes=128, checkpoint_steps=2, compiled=False)  # compiling takes a minute, in each process
    train_clip(DEMO_MODEL, TrainingConfig(samples=320), [TemplateUse("a {}.")], Path(sys.argv[1]), pace)
"""
ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)}


def start(folder):
    """Start to train the real network; after its first checkpoint, return the process and its workers."""
    (folder / "train.py").write_text(KILLED)
    process = subprocess.Popen(
        [sys.executable, str(folder / "train.py"), str(folder)],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=end_at_ctrl_c,
    )
    for line in process.stderr:
        if line.startswith("checkpoint"):
            break
    return process, psutil.Process(process.pid).children()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_training_leaves_no_process_and_can_be_resumed(tmp_path):
    first, workers = start(tmp_path)
    first.kill()
    first.communicate(timeout=60)  # a surviving worker would keep standard error open
    assert all_end_within(10, workers)
    assert not (tmp_path / "weights.safetensors").exists()
    command = [sys.executable, str(tmp_path / "train.py"), str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert re.search(r"resuming after step [1-9]", done.stderr), done.stderr
    assert (tmp_path / "weights.safetensors").stat().st_size < 16e6


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ctrl_c_does_not_reach_the_workers_of_a_training(tmp_path):
    process, workers = start(tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # like a terminal, signal all processes of the job
    _, error = process.communicate(timeout=60)
    assert error.rstrip().endswith("KeyboardInterrupt"), error
    assert "SpawnProcess" not in error, error
    assert all_end_within(10, workers)


def test_the_training_command_starts():
    command = [sys.executable, "-m", "clipes.flows.demo_clip", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--checkpoint-every" in done.stdout
