"""Check the weights of CLIP and of the segmenter, and try the training, without downloading anything."""

from collections.abc import Iterator

from clipes.tasks.commands.finding import Finding
from clipes.tasks.models.clip import load_clip
from clipes.tasks.models.clip_models.pretrained import find_weights
from clipes.tasks.models.weight_files import WeightsPlace
from clipes.tasks.runs.training_trial import find_segmenter_weights, try_training
from clipes_core.config.run import RunConfig
from clipes_core.vocabulary import Vocabulary


def check_clip(config: RunConfig) -> Iterator[Finding]:
    """Load CLIP if its weights are on this machine; otherwise, say from where a run would download them.

    Raises:
        WeightsError: the weights cannot be used, or cannot be downloaded from here.
        TransientError: the server of the weights does not answer.
    """
    place, name = find_weights(config.clip), f"{config.clip.model} {config.clip.pretrained}"
    if place is None:
        yield Finding("weights", None, f"{name}: random weights, which make meaningless masks; set clip.pretrained")
        return
    if place.path is not None:
        load_clip(config.clip)
    yield _finding("weights", name, place, "clip.pretrained")


def check_segmenter(config: RunConfig, vocabulary: Vocabulary) -> tuple[int, list[Finding]]:
    """Try the training, and say where the initial weights are.

    Returns:
        The number of parameters of the network, and the findings.

    Raises:
        UsageError: the training cannot be used.
        TransientError: the store of the initial weights does not answer.
    """
    place = find_segmenter_weights(config)
    parameters = try_training(config, vocabulary, with_weights=place is None or place.path is not None)
    trained = f"{config.train.mmseg_config} can be trained; it has {parameters / 1e6:.1f} million parameters"
    findings = [Finding("training", True, trained)]
    if place is not None:
        findings.append(
            _finding("initial weights", config.train.init or config.train.mmseg_config, place, "train.init")
        )
    return parameters, findings


def _finding(what: str, name: str, place: WeightsPlace, key: str) -> Finding:
    if place.path is not None:
        return Finding(what, True, f"{name}: {place.path} ({_megabytes(place.size_bytes)})")
    size = f" ({_megabytes(place.size_bytes)})" if place.size_bytes else ""
    return Finding(
        what,
        None,
        f"{name}: not on this machine; a run downloads {place.url}{size} to {place.cache}. Without internet, download "
        f"the file on another machine, and set {key} to its path",
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
