"""Check a run before its photos are listed: fast checks, which open no list and no weights."""

from clipes.tasks.inputs.datasets.listing import check_split
from clipes.tasks.models.clip_architecture import named_architecture
from clipes.tasks.runs.inputs.photos import evaluation_dataset
from clipes.tasks.runs.inputs.vocabulary import checked_vocabulary
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.stages.registry import STAGES, run_names, stages_until
from clipes.tasks.stages.segmenter import SEGMENTER
from clipes.tasks.stages.segmenter_scores import SEGMENTER_SCORES
from clipes.tasks.storage.files import check_place, check_writable
from clipes_core.config.extras import TRAIN
from clipes_core.config.run import RunConfig
from clipes_core.dense_crf import check_crf
from clipes_core.errors import ConfigError, StorageError


def check_request(config: RunConfig, until: str) -> None:
    """Check the value of `--until`, the extras, the model, the vocabulary, and that the lists exist.

    The check is fast, so call it first.

    Raises:
        ConfigError: the stage or the vocabulary cannot be used, or an extra that the run needs is not installed.
        WeightsError: `named_architecture` does not accept `clip.model`.
        DatasetError: the list of the photos or of the evaluation photos does not exist.
        TransientError: the network or the server fails.
    """
    if until not in run_names():
        raise ConfigError(f"--until {until}: no such stage; the stages are: {', '.join(run_names())}")
    missing = STAGES[until].left_out_by(config) if until in STAGES and until != run_names()[-1] else None
    if missing is not None:
        raise ConfigError(
            f"--until {until}: this config leaves that stage out; set {missing.enabled_by}, or name an earlier stage"
        )
    stages = stages_until(config, until)
    if config.crf.enabled and MASKS.name in stages:
        check_crf(config.crf, "crf")
    if SEGMENTER.name in stages:
        TRAIN.check("train.enabled=true", "set train.enabled=false")
    if config.evaluation.crf.enabled and SEGMENTER_SCORES.name in stages:
        check_crf(config.evaluation.crf, "evaluation.crf")
    check_inputs(config)
    if config.evaluation.photos and any(STAGES[name].kind.of_training for name in stages):
        check_split(evaluation_dataset(config))


def check_inputs(config: RunConfig) -> None:
    """Check the model, the vocabulary, and that the list of photos exists. The check opens no list and no weights.

    Raises:
        WeightsError: `named_architecture` does not accept `clip.model`.
        ConfigError: the vocabulary cannot be used.
        DatasetError: the list of photos does not exist.
        TransientError: the network or the server fails.
    """
    named_architecture(config.clip.model)
    checked_vocabulary(config)
    check_split(config.dataset)


def check_store(config: RunConfig, writes: bool) -> None:
    """Check that the store of a config can be used.

    Args:
        config: configuration of the run.
        writes: if True, check that files can be written to the store. If False, check only that no file is in its
            place, and write nothing.

    Raises:
        StorageError: the store cannot be used, for example because it is a file or a bucket that does not exist.
        TransientError: the network or the server fails.
    """
    try:
        (check_writable if writes else check_place)(config.store)
    except StorageError as exc:
        raise StorageError(f"store: {exc}") from exc
