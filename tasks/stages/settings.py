"""Settings that several stages read, as they enter stage keys."""

from typing import Any

from clipes.tasks.plan.run_inputs import RunInputs


def image_network(inputs: RunInputs) -> list[str]:
    """Return what decides the output of CLIP's image network."""
    return [inputs.config.clip.model, inputs.model_digest, inputs.config.clip.pooling, inputs.precision]


def photo_settings(inputs: RunInputs) -> dict[str, Any]:
    """Return what decides the pixels of a photo."""
    return inputs.config.dataset.model_dump(include={"exif", "max_side"})
