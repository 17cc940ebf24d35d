"""The architectures of OpenCLIP's models. They are read from its files, because importing OpenCLIP takes seconds."""

import json
from typing import Any

from clipes.tasks.machine.shipped_files import CLIP_MODELS, package_folder

# Folders with a JSON file for each model. A file without these keys describes no network of OpenCLIP.
MODEL_FOLDERS = [package_folder("open_clip") / "model_configs", CLIP_MODELS]
MODEL_KEYS = {"embed_dim", "vision_cfg", "text_cfg"}


def architectures() -> dict[str, dict[str, Any]]:
    """Return name -> architecture of each model in MODEL_FOLDERS, in alphabetical order."""
    names = sorted({path.stem for folder in MODEL_FOLDERS for path in folder.glob("*.json")})
    found = {name: find_architecture(name) for name in names}
    return {name: values for name, values in found.items() if values is not None}


def find_architecture(model_name: str) -> dict[str, Any] | None:
    """Return the architecture of the model of this name; None if there is no such model."""
    if not model_name or "/" in model_name or "\\" in model_name:  # hf-hub:someone/clip is no name of a file
        return None
    for folder in reversed(MODEL_FOLDERS):
        file = folder / f"{model_name}.json"
        if file.is_file():
            values: dict[str, Any] = json.loads(file.read_text())
            return values if values.keys() >= MODEL_KEYS else None
    return None
