"""Settings that belong to a CLIP model, or to its kind of image network. They apply unless the config sets them."""

from functools import cache
from typing import Any

import yaml

from clipes.tasks.inputs.config_text.architectures import find_architecture
from clipes.tasks.machine.shipped_files import CLIP_MODELS
from clipes_core.config.image_networks import image_network, suited_config
from clipes_core.config.run import RunConfig


def with_model_settings(config: RunConfig) -> RunConfig:
    """Return a config in which the settings that belong to its model replace the defaults, but no stated value.

    An unknown model has none; whoever builds it reports it.

    Raises:
        ConfigError: a setting does not suit the kind of the model's image network; one line per key.
    """
    changed = {}
    for section, values in _settings_of(config.clip.model).items():
        given = getattr(config, section)
        missing = {key: value for key, value in values.items() if key not in given.model_fields_set}
        changed[section] = given.model_copy(update=missing)
    config = config.model_copy(update=changed)
    architecture = find_architecture(config.clip.model)
    return config if architecture is None else suited_config(config, image_network(architecture))


@cache
def _settings_of(model: str) -> dict[str, dict[str, Any]]:
    """Return section -> key -> value of the settings of a model; empty if clipes ships none for it."""
    file = CLIP_MODELS / f"{model}.yaml"
    if file.parent != CLIP_MODELS or not file.is_file():
        return {}
    found: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text())
    return found
