"""Find the mean and the standard deviation of the pixels that a model was trained on."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Normalisation(NamedTuple):
    """How the colours of a photo, in [0, 1], are normalised: (colour - mean) / std, for red, green and blue."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def tag_normalisation(entry: Mapping[str, Any]) -> Normalisation | None:
    """Return the normalisation in OpenCLIP's entry of a tag; None if it is that of OpenAI's CLIP."""
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    found = Normalisation(tuple(entry["mean"]), tuple(entry["std"]))
    return None if found == (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD) else found


def usual_normalisation(model_name: str, architecture: dict[str, Any]) -> Normalisation | None:
    """Return the normalisation that all of OpenCLIP's weights of a model have; None if it is that of OpenAI's CLIP.

    Weights from a file do not say how photos are normalised, so clipes uses this normalisation for them. If OpenCLIP
    has no weights of the model, or several with different normalisations, it is that of OpenAI's CLIP.
    """
    if "timm_model_name" not in architecture["vision_cfg"] and "hf_tokenizer_name" not in architecture["text_cfg"]:
        return None  # without importing OpenCLIP, which takes seconds
    import open_clip

    entries = [
        open_clip.get_pretrained_cfg(model_name, tag) for tag in open_clip.list_pretrained_tags_by_model(model_name)
    ]
    found = {tag_normalisation(entry) for entry in entries}
    return found.pop() if len(found) == 1 else None
