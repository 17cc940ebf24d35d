"""A tiny CLIP, whose sizes no network of OpenCLIP has."""

import json
from collections.abc import Iterator

import pytest
import torch
from open_clip.model import CLIP
from support.tiny_clip import TINY, State

from clipes.tasks.inputs.config_text.architectures import MODEL_FOLDERS


@pytest.fixture(scope="module")
def tiny_names(tmp_path_factory) -> Iterator[tuple[str, str]]:
    """Add the tiny network to the known models, with GELU and with QuickGELU, and return both names."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / "tiny56.json").write_text(json.dumps(TINY))
    (folder / "tiny56-quickgelu.json").write_text(json.dumps({**TINY, "quick_gelu": True}))
    MODEL_FOLDERS.append(folder)
    yield "tiny56", "tiny56-quickgelu"
    MODEL_FOLDERS.remove(folder)


@pytest.fixture(scope="module")
def tiny_state() -> State:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return CLIP(**TINY).state_dict()
