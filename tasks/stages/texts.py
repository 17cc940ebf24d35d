"""Stage texts: one feature per class (or synonym) and background word."""

import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np

from clipes.tasks.machine.worker import current_worker
from clipes.tasks.models.clip import Clip
from clipes.tasks.models.loaded_clip import loaded_clip, logit_scale
from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.plan.keys import digest
from clipes.tasks.plan.stages import STAGES
from clipes.tasks.storage.artifact_store import ArtifactKey, ArtifactStore
from clipes_core.config.run import ClipConfig, RunConfig
from clipes_core.prompts import sentences, text_feature, vocabulary_texts
from clipes_core.text_features import TextFeatures
from clipes_core.vocabulary import Vocabulary


def texts_key(stage_key: str) -> ArtifactKey:
    """The one artifact of the stage: its rows follow from the stage's settings alone."""
    return ArtifactKey("texts", stage_key, 0, digest(stage_key))


def text_count(config: RunConfig, vocabulary: Vocabulary) -> int:
    """Rows the artifact has."""
    return len(vocabulary_texts(vocabulary, config.prompts))


def make_texts(
    key: ArtifactKey,
    store: ArtifactStore,
    config: RunConfig,
    vocabulary: Vocabulary,
    stage: str = "texts",
    shard: int = 0,
) -> ShardRecord:
    """Encode the vocabulary's texts in the config's templates and write the artifact; runs in a worker.

    Args:
        key: of the artifact.
        store: where it goes.
        config: of the run, or of a candidate.
        vocabulary: the classes.
        stage: candidate_texts for a candidate; the artifact is the same.
        shard: which candidate.

    Raises:
        PromptError: a sentence is longer than CLIP reads.
        WeightsError: the weights cannot be used.
    """
    started, worker = time.monotonic(), current_worker()
    rows = list(_rows(loaded_clip(config.clip), config, vocabulary))
    metadata = {"config": config.model_dump_json(), "version": version("clipes")}
    with store.writer(key, STAGES["texts"].schema, metadata) as artifact:
        for row in rows:
            artifact.write(row)
            worker.counters.add(stage)
    return ShardRecord(
        stage,
        shard,
        store.artifact_uri(key),
        len(rows),
        cached=False,
        computed=len(rows),
        seconds=time.monotonic() - started,
        worker=worker.name,
    )


def read_texts(store: ArtifactStore, uri: str, clip: ClipConfig) -> TextFeatures:
    """The artifact as arrays, with CLIP's logit scale.

    Raises:
        ArtifactError: it cannot be read.
    """
    columns = store.read(uri, ["class_id", "feature"]).to_pydict()
    features = np.asarray(columns["feature"], dtype=np.float32)
    return TextFeatures(np.asarray(columns["class_id"]), features, logit_scale(loaded_clip(clip)))


def _rows(clip: Clip, config: RunConfig, vocabulary: Vocabulary) -> Iterator[dict[str, Any]]:
    templates = config.prompts.templates
    for text in vocabulary_texts(vocabulary, config.prompts):
        feature = text_feature(clip.model, clip.tokenizer, text.phrases, templates)
        yield {
            "class_id": text.class_id,
            "name": text.name,
            "sentences": [sentence for phrase in text.phrases for sentence in sentences(phrase, templates)],
            "feature": feature.cpu().numpy(),
        }
