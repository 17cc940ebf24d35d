"""Put the run's classes and losses into a network's config, and find the initial weights that the config lists."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from clipes.tasks.models.config_sections import config_sections, is_timm
from clipes_core.config.segmenter import TrainConfig
from clipes_core.pseudo_mask import IGNORE_INDEX


def network_of_run(model: Mapping[str, Any], num_classes: int, train: TrainConfig) -> dict[str, Any]:
    """Return a copy of a network's config with the run's classes and losses, and without initial weights.

    Args:
        model: config of an MMSegmentation segmentor; left unchanged.
        num_classes: 1 + K, where K is the number of classes of the vocabulary.
        train: settings of the training. Only `loss` and `mu` are used.
    """
    network = deepcopy(dict(model))
    for head in _heads(network):
        _fill_head(head, num_classes, train)
    for section in config_sections(network):
        _remove_initial_weights(section)
    preprocessor = network.setdefault("data_preprocessor", {"type": "SegDataPreProcessor"})
    preprocessor["seg_pad_val"] = IGNORE_INDEX
    return network


def initial_weights_of_network(model: Mapping[str, Any]) -> str | None:
    """Return the initial weights of the whole network or of the backbone; None if a config lists no such weights."""
    sections = (model, model.get("backbone", {}))
    return next((weights for section in sections for weights in _initial_weights(section)), None)


def initial_weights_of_parts(model: Mapping[str, Any]) -> list[str]:
    """Return all initial weights that a config lists, for the whole network and for every part of it."""
    return [weights for section in config_sections(dict(model)) for weights in _initial_weights(section)]


def _heads(model: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key in ("decode_head", "auxiliary_head"):
        found = model.get(key) or ()
        yield from [found] if isinstance(found, dict) else found


def _fill_head(head: dict[str, Any], num_classes: int, train: TrainConfig) -> None:
    own_losses = head.get("loss_decode") or {}
    weights = [each.get("loss_weight", 1.0) for each in ([own_losses] if isinstance(own_losses, dict) else own_losses)]
    confidence_in_loss = train.loss == "cgl" and train.mu != "labels"
    head["num_classes"], head["ignore_index"] = num_classes, IGNORE_INDEX
    head.pop("out_channels", None)
    head.pop("threshold", None)
    head["loss_decode"] = {
        "type": "ConfidenceGuidedLoss",
        "mu": train.mu if confidence_in_loss else 0.0,
        "loss_weight": weights[0] if weights else 1.0,
        "loss_name": f"loss_{train.loss}",
    }


def _initial_weights(section: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(section.get("pretrained"), str):
        yield section["pretrained"]
    yield from (str(each["checkpoint"]) for each in _init_cfgs(section) if each.get("type") == "Pretrained")


def _init_cfgs(section: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the entries of a section's `init_cfg`. An entry loads weights, or initialises weights at random."""
    found = section.get("init_cfg") or ()
    return [found] if isinstance(found, Mapping) else list(found)


def _remove_initial_weights(section: dict[str, Any]) -> None:
    """Change a section in place: remove the keys that load weights, and keep the random initialisations."""
    section.pop("pretrained", None)
    if is_timm(section):
        section["pretrained"] = False  # by default timm downloads weights
    if any(each.get("type") == "Pretrained" for each in _init_cfgs(section)):
        drawn = [each for each in _init_cfgs(section) if each.get("type") != "Pretrained"]
        section.update(init_cfg=drawn) if drawn else section.pop("init_cfg")
