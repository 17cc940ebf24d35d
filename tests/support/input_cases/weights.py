"""Bad weights and too long class words, with which the command exits with code 2."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from support.input_cases.photos import PAGE
from support.input_cases.seen import Seen

from clipes.tasks.models.clip import load_clip
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.errors import UsageError
from clipes_core.prompts import text_feature


class Touch:
    """An object that runs a shell command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.target}",)


def truncated(path: Path, small_vit: Path) -> None:
    """Write the first half of a checkpoint."""
    content = small_vit.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def other_architecture(path: Path, _small_vit: Path) -> None:
    """Write the weights of a network that is not a CLIP."""
    safetensors.torch.save_file({"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(1000)}, path)


def program(path: Path, _small_vit: Path) -> None:
    """Write a pickle that creates a file when it is loaded."""
    path.write_bytes(pickle.dumps({"visual.proj": Touch(path.with_name("ran"))}))


def not_finite(path: Path, small_vit: Path) -> None:
    """Write the weights of a CLIP, one number of which is infinite."""
    tensors = torch.load(small_vit, weights_only=True)
    tensors["visual.proj"][3, 5] = torch.inf
    torch.save(tensors, path)


def expanded(path: Path, _small_vit: Path) -> None:
    """Write a tensor of a gigabyte whose elements are all stored as the same number."""
    torch.save({"visual.proj": torch.zeros(1).expand(1 << 14, 1 << 14)}, path)


def flipped(path: Path, small_vit: Path) -> None:
    """Write a checkpoint in which a bit of the largest tensor has flipped."""
    content = bytearray(small_vit.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


WEIGHTS: dict[tuple[str, str], Callable[[Path, Path], object]] = {
    ("Weights", "truncated weights"): truncated,
    ("Weights", "weights of another architecture"): other_architecture,
    ("Weights", "web page as weights"): lambda path, _: path.write_bytes(PAGE),
    ("Weights", "empty weights file"): lambda path, _: path.touch(),
    ("Weights", "pickle that would run a program"): program,
    ("Weights", "weights that contain NaN or infinity"): not_finite,
    ("Weights", "weights that would need much more memory than their file has bytes"): expanded,
    ("Weights", "checkpoint with a flipped bit"): flipped,
    ("Weights", "folder instead of weights"): lambda path, _: path.mkdir(),
}


def seen_of_weights(path: Path) -> Seen:
    """Load weights as a worker does, and return what happens."""
    return _refused(lambda: load_clip(ClipConfig(pretrained=str(path))))


def seen_of_long_words(small_vit: Path) -> Seen:
    """Encode a class with too many words, and return what happens."""
    clip = load_clip(ClipConfig(pretrained=str(small_vit)))
    return _refused(lambda: text_feature(clip.model, clip.tokenizer, ["dog " * 90], ["a {}."]))


def _refused(call: Callable[[], object]) -> Seen:
    """Return a call's UsageError as seen by a user: the command writes its message and exits with code 2."""
    try:
        call()
    except UsageError as error:
        return Seen(exit_code=2, message=str(error))
    return Seen()
