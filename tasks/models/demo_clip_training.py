"""Train the demo's small CLIP on generated scenes; an interrupted training run resumes from a checkpoint."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file

from clipes.tasks.inputs.templates import shipped_templates
from clipes.tasks.machine.devices import cores
from clipes.tasks.machine.interruption import sigint_blocked
from clipes.tasks.machine.worker_state import end_with_parent
from clipes.tasks.models.clip import load_clip
from clipes.tasks.models.clip_architecture import named_architecture
from clipes.tasks.storage.files import write_atomically
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.demo.captions import make_caption
from clipes_core.demo.scenes import Scene, scene_of_seed
from clipes_core.demo.template_uses import TemplateUse, varied_uses
from clipes_core.demo.training import ClipTrainer, TrainingConfig
from clipes_core.errors import ConfigError

DEMO_MODEL = "clipes-demo"
CHECKPOINT = "checkpoint.pt"
SCENES, ORDER, CAPTIONS = 77001, 77002, 77003  # first number of a seed; it differs between the three kinds of seeds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """The intervals at which a training run generates scenes, writes log lines and saves checkpoints.

    Attributes:
        scenes: number of scenes in a set. Training generates one set of scenes after the other.
        passes: number of passes over each set. Captions, mirroring and dropped patches differ between the passes.
        checkpoint_steps: number of training steps between two checkpoints.
        log_steps: number of training steps between two log lines.
        compiled: if true, torch compiles the image transformer. Compiled training is a third faster on a CPU, but
            the compilation takes a minute and needs a C++ compiler.
    """

    scenes: int = 4096
    passes: int = 3
    checkpoint_steps: int = 200
    log_steps: int = 50
    compiled: bool = True


def train_demo_clip(
    folder: Path,
    settings: Mapping[str, Any],
    varied: bool = False,
    image_from: str | None = None,
    checkpoint_steps: int = 200,
) -> Path:
    """Train the demo's CLIP. Captions use the candidate templates that are part of clipes.

    Args:
        folder: as for `train_clip`.
        settings: settings of `TrainingConfig` that differ from the defaults.
        varied: if true, captions use each template as `varied_uses` says. If false, they use all templates alike.
        image_from: as for `train_clip`.
        checkpoint_steps: number of training steps between two checkpoints.

    Returns:
        The path of the weights.

    Raises:
        ConfigError: as for `train_clip`.
    """
    templates = shipped_templates()
    uses = varied_uses(templates) if varied else tuple(TemplateUse(template) for template in templates)
    pace = Pace(checkpoint_steps=checkpoint_steps)
    return train_clip(DEMO_MODEL, TrainingConfig(**settings), uses, folder, pace, image_from)


def train_clip(
    model_name: str,
    config: TrainingConfig,
    uses: Sequence[TemplateUse],
    folder: Path,
    pace: Pace,
    image_from: str | None = None,
) -> Path:
    """Train a CLIP on generated scenes and captions, or resume an interrupted training run.

    Args:
        model_name: name of a model config that OpenCLIP knows.
        config: settings of the training.
        uses: templates of the captions, and how the captions use them.
        folder: folder for checkpoint.pt, log.txt and weights.safetensors (half precision); created if it does not
            exist.
        pace: how often to generate scenes, write log lines and save checkpoints.
        image_from: weights of the same model, as `clip.pretrained`, from which the image network starts; None for
            random weights. The text network always starts from random weights, so it knows the templates only from
            `uses`.

    Returns:
        The path of the weights.

    Raises:
        ConfigError: the checkpoint in the folder is damaged, or belongs to a training run with different settings.
        WeightsError: as for `load_clip`, about the weights of `image_from`.
    """
    trainer = open_training(model_name, config, uses, folder, image_from)
    for _ in training_steps(trainer, uses, folder, pace):
        pass
    return write_weights(trainer, folder)


def open_training(
    model_name: str,
    config: TrainingConfig,
    uses: Sequence[TemplateUse],
    folder: Path,
    image_from: str | None = None,
) -> ClipTrainer:
    """Return a trainer that resumes from the checkpoint in `folder`, or starts at step 0 if there is no checkpoint.

    The arguments and errors are the same as for `train_clip`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    model, start = _model(model_name), None
    if image_from is not None:
        start = load_clip(ClipConfig(model=model_name, pretrained=image_from))
        model.visual.load_state_dict(start.model.visual.state_dict())
    templates = [asdict(use) for use in uses]
    settings = {
        "model": model_name,
        "templates": templates,
        "image_from": start and start.digest,
        **config.model_dump(),
    }
    trainer = ClipTrainer(model, config)
    checkpoint = folder / CHECKPOINT
    if not checkpoint.exists():
        _save(checkpoint, {"settings": settings, **trainer.state_dict()})
        return trainer
    state = _load(checkpoint)
    if state["settings"] != settings:
        raise ConfigError(
            f"{checkpoint} belongs to a training run with different settings: delete it, or choose another folder"
        )
    trainer.load_state_dict(state)
    logger.info("resuming after step %d of %d", trainer.step, config.steps)
    return trainer


def training_steps(trainer: ClipTrainer, uses: Sequence[TemplateUse], folder: Path, pace: Pace) -> Iterator[int]:
    """Train up to the last step, and write log lines and checkpoints.

    Yields:
        The number of finished steps, after each step. Training stops when the caller stops iterating.
    """
    tokenizer = open_clip.SimpleTokenizer(context_length=trainer.model.context_length)
    settings = _load(folder / CHECKPOINT)["settings"]
    config, losses = trainer.config, list[float]()
    started, first = time.monotonic(), trainer.step
    if pace.compiled:  # replace only the method `forward`, so that the weights keep their names
        trainer.model.visual.transformer.forward = torch.compile(
            trainer.model.visual.transformer.forward, dynamic=False
        )
    for images, captions in _batches(trainer, uses, pace):
        torch.manual_seed(config.seed * 1_000_003 + trainer.step)  # seeds the patch dropout
        losses.append(trainer.train_step(images, [tokenizer(texts) for texts in captions]))
        last = trainer.step == config.steps
        if trainer.step % pace.log_steps == 0 or last:
            speed = (trainer.step - first) * config.batch / (time.monotonic() - started)
            _log(folder / "log.txt", trainer, float(np.mean(losses)), speed)
            losses.clear()
        if trainer.step % pace.checkpoint_steps == 0 or last:
            _save(folder / CHECKPOINT, {"settings": settings, **trainer.state_dict()})
            logger.info("checkpoint after step %d", trainer.step)
        yield trainer.step


def write_weights(trainer: ClipTrainer, folder: Path) -> Path:
    """Write weights.safetensors in half precision, and return its path."""
    config, path = trainer.config, folder / "weights.safetensors"
    tensors = {name: tensor.half().contiguous() for name, tensor in trainer.model.state_dict().items()}
    save_file(tensors, path, {"trained": f"{config.samples} samples, seed {config.seed}"})
    return path


def _model(model_name: str) -> CLIP:
    """Build the network with random weights. Its output includes the patch tokens, which the training needs."""
    architecture = named_architecture(model_name)
    vision = {**architecture["vision_cfg"], "output_tokens": True, "patch_dropout": 0.5}  # the trainer replaces 0.5
    return CLIP(**{**architecture, "vision_cfg": vision})


def _batches(
    trainer: ClipTrainer, uses: Sequence[TemplateUse], pace: Pace
) -> Iterator[tuple[torch.Tensor, list[list[str]]]]:
    """Yield the batch of each step, starting at the trainer's current step.

    A batch is a tensor of B images, (B, 3, S, S) uint8, and `config.captions` lists with B captions each. The batch of
    a step depends only on the settings and on the number of the step, so a resumed training run gets the same batches.
    """
    config, size = trainer.config, trainer.model.visual.image_size[0]
    steps = pace.scenes // config.batch
    scenes: list[Scene] = []
    generated = -1
    with ProcessPoolExecutor(cores(), mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        while trainer.step < config.steps:
            turn, inside = divmod(trainer.step, steps * pace.passes)
            if turn != generated:
                seeds = [(SCENES, config.seed, index) for index in range(turn * pace.scenes, (turn + 1) * pace.scenes)]
                with sigint_blocked():  # the first call starts the worker processes, which inherit the blocked signal
                    pending = pool.map(partial(scene_of_seed, size=size), seeds, chunksize=128)
                scenes, generated = list(pending), turn
            in_pass, place = divmod(inside, steps)
            order = np.random.default_rng([ORDER, config.seed, turn, in_pass]).permutation(pace.scenes)
            chosen = [scenes[index] for index in order[place * config.batch : (place + 1) * config.batch]]
            yield _batch(np.random.default_rng([CAPTIONS, config.seed, trainer.step]), chosen, config, uses)


def _batch(
    rng: np.random.Generator, scenes: list[Scene], config: TrainingConfig, uses: Sequence[TemplateUse]
) -> tuple[torch.Tensor, list[list[str]]]:
    images, captions = [], []
    for scene in scenes:
        images.append(scene.image_rgb[:, ::-1] if rng.random() < 0.5 else scene.image_rgb)
        others = [scenes[int(rng.integers(len(scenes)))] for _ in range(config.captions)]
        captions.append([make_caption(rng, scene, other, uses) for other in others])
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return pixels, [list(one_of_each) for one_of_each in zip(*captions, strict=True)]


def _load(checkpoint: Path) -> dict[str, Any]:
    try:
        return torch.load(checkpoint, weights_only=True)
    except (RuntimeError, EOFError, UnpicklingError) as exc:
        raise ConfigError(f"{checkpoint} is damaged: delete it to start again, or choose another folder") from exc


def _save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    with write_atomically(str(path)) as temporary:
        torch.save(state, temporary)


def _log(path: Path, trainer: ClipTrainer, loss: float, speed: float) -> None:
    config, scale = trainer.config, trainer.model.logit_scale.exp().item()
    line = (
        f"step {trainer.step}/{config.steps} samples {trainer.step * config.batch} "
        f"loss {loss:.4f} logit_scale {scale:.1f} {speed:.0f} samples/s"
    )
    logger.info(line)
    with path.open("a") as file:
        file.write(line + "\n")
