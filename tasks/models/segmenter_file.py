"""Save, load and apply trained segmenters. A segmenter's file holds the tensors and the config of its network."""

import clipes_core.segmentation  # noqa: F401 - registers modules; first, because it hides MMSegmentation's warnings

# isort: split

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from mmengine.registry import DefaultScope
from mmseg.models.segmentors import BaseSegmentor  # the import registers the stock modules
from mmseg.registry import MODELS
from pydantic import TypeAdapter

from clipes.tasks.inputs.batches import refuse_out_of_memory
from clipes.tasks.inputs.photos import LoadedPhoto
from clipes.tasks.models.file_checks import check_header
from clipes.tasks.models.network_config import (
    as_text,
    block_imports,
    from_text,
    unregistered,
    without_initial_weights,
)
from clipes.tasks.models.state_dicts import check_weights
from clipes.tasks.storage.checksums.seals import BLANK_SEAL, FAILS_CHECKSUM, add_seal, check_sealed_file
from clipes.tasks.storage.files import on_local_disk, write_file
from clipes.tasks.storage.filesystem import first_line
from clipes.tasks.storage.parquet.errors import MISSING
from clipes_core.config.segmenter import EvaluationConfig
from clipes_core.errors import BrokenArtifactError, ClipesError, WeightsError
from clipes_core.segmentation.inference import photo_mask  # importing its package registers clipes's modules

Palette = Sequence[Sequence[int]]
CLASSES = TypeAdapter(tuple[str, ...])
COLOURS = TypeAdapter(tuple[tuple[int, int, int], ...])
HEADER_START, ALIGNMENT = 8, 8  # of the safetensors format [bytes]: the header follows its own length


@dataclass(frozen=True)
class LoadedSegmenter:
    """A trained network that assigns a class to each pixel.

    Attributes:
        model: network of MMSegmentation, in eval mode, without gradients, on `device`.
        classes: names of the classes 1..K.
        palette: 256 RGB colours, one per id.
        device: device of the network, such as cpu, cuda:0 or mps.
    """

    model: BaseSegmentor
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    device: str


def save_segmenter(
    uri: str,
    model_config: Mapping[str, Any],
    state_dict: Mapping[str, torch.Tensor],
    classes: Sequence[str],
    palette: Palette,
) -> None:
    """Write a segmenter atomically, as one safetensors file. The same segmenter always gives the same bytes.

    Args:
        uri: URI of the file; missing local folders are created.
        model_config: config from which MMSegmentation's registry builds the network.
        state_dict: tensors of the network, on any device. If tensors share memory, each of them is written in full.
        classes: names of the classes 1..K.
        palette: 256 RGB colours, one per id.

    Raises:
        StorageError: the file cannot be written.
        TransientError: the store does not answer.
    """
    tensors = {name: _own_copy(tensor) for name, tensor in state_dict.items()}
    stated = {"classes": classes, "palette": palette}
    metadata = {"model": as_text(model_config), **{name: json.dumps(value) for name, value in stated.items()}}
    content = safetensors.torch.save(tensors, {**metadata, "seal": BLANK_SEAL})
    write_file(uri, add_seal(_with_sorted_metadata(content)))


def _with_sorted_metadata(content: bytes) -> bytes:
    """Return a safetensors file whose metadata is sorted by name; safetensors itself writes it in a random order."""
    end = HEADER_START + int.from_bytes(content[:HEADER_START], "little")
    header = json.loads(content[HEADER_START:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(HEADER_START, "little") + text + content[end:]


def load_segmenter(uri: str, device: str) -> LoadedSegmenter:
    """Build the network that a file describes, and load the file's tensors into it.

    No code from the file is executed, and nothing is downloaded, even if the file contains URLs.

    Args:
        uri: URI of a file that `save_segmenter` wrote.
        device: device for the network.

    Raises:
        BrokenArtifactError: the file is missing or damaged, or was not written by `save_segmenter`.
        WeightsError: the config contains modules that are not registered; or the network cannot be built from the
            config; or the network is not a segmentor of MMSegmentation; or the tensors do not fit the network, or
            contain NaN or infinity.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    try:
        with on_local_disk(uri) as path:
            is_sealed = path.stat().st_size > 0 and check_sealed_file(path, uri)
            metadata, tensors = _read_content(path)
    except FileNotFoundError as exc:
        raise BrokenArtifactError(uri, MISSING, "run again") from exc
    except ClipesError:
        raise
    except Exception as exc:  # for a damaged file, safetensors may raise anything
        raise BrokenArtifactError(uri, f"cannot be read ({first_line(exc)})") from exc
    try:
        model_config = from_text(metadata["model"])
        classes, palette = CLASSES.validate_json(metadata["classes"]), COLOURS.validate_json(metadata["palette"])
        intact = is_sealed or metadata["checksum"] == str(_checksum(tensors))
    except Exception as exc:  # in a forged file, the metadata may have any types
        raise BrokenArtifactError(uri, "is not the file of a segmenter, or its metadata is damaged") from exc
    if not intact:
        raise BrokenArtifactError(uri, FAILS_CHECKSUM)
    model = _build(uri, model_config)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as exc:
        raise WeightsError(f"{uri}: its tensors do not fit its network ({_one_line(exc)})") from exc
    check_weights(uri, tensors)
    model.to(device).eval().requires_grad_(False)
    return LoadedSegmenter(model, classes, palette, device)


def predict_ids(segmenter: LoadedSegmenter, loaded: LoadedPhoto, config: EvaluationConfig) -> np.ndarray:
    """Predict the class of each pixel of a loaded photo, at the size of `loaded.image`.

    Returns:
        (h, w) uint8 ids 0..K.

    Raises:
        PhotoError: the photo does not fit into the device's memory. The kind of the error is OUT_OF_MEMORY.
    """
    with refuse_out_of_memory():
        return photo_mask(segmenter.model, np.asarray(loaded.image), config)


def _own_copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _checksum(tensors: Mapping[str, torch.Tensor]) -> int:
    """Return the CRC-32 of the bytes of all tensors, which earlier versions of clipes wrote in place of a seal."""
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, crc)
    return crc


def _read_content(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    check_header(path)
    with safetensors.safe_open(path, "pt", device="cpu") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _build(uri: str, model_config: Any) -> BaseSegmentor:
    try:
        model_config = without_initial_weights(model_config)
        _check_registered(uri, model_config)
        with DefaultScope.overwrite_default_scope("mmseg"), block_imports():
            model = MODELS.build(model_config)
    except WeightsError:
        raise
    except Exception as exc:  # with wrong values in the config, a constructor may raise anything
        raise WeightsError(f"{uri}: its network cannot be built ({type(exc).__name__}: {_one_line(exc)})") from exc
    if not isinstance(model, BaseSegmentor):
        raise WeightsError(f"{uri}: its network is a {type(model).__name__}, expected a segmentor of MMSegmentation")
    return model


def _check_registered(uri: str, model_config: Any) -> None:
    """Raise WeightsError if a name in the config is not registered.

    MMEngine would import the object with this name and call the object.
    """
    if not isinstance(model_config, dict) or "type" not in model_config:
        raise WeightsError(f"{uri}: its network config is {str(model_config)[:80]!r}, expected a dict with a type")
    if foreign := unregistered(model_config):
        raise WeightsError(
            f"{uri}: its network has a module {foreign[0]!r}, which is not registered; no code of the module was "
            "executed. Train a network whose modules are all from MMSegmentation or clipes"
        )


def _one_line(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:300]
