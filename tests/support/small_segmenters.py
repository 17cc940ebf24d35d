"""Segmenters with few weights, built from MMSegmentation's modules."""

from typing import Any

import pyarrow as pa
import torch
from mmengine.registry import DefaultScope
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from support.run_contents import RUN

from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.models.segmenter_file import save_segmenter
from clipes.tasks.stages.segmenter import SEGMENTER
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.checksums.weights import describe_weights
from clipes.tasks.storage.layout import ArtifactKey, weights_uri
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_schemas.tables import MANIFEST_SCHEMA, REJECTS_SCHEMA, STATUS_SCHEMA
from clipes_core.config.run import RunConfig


def small_config(classes: int = 21) -> dict[str, Any]:
    """Return the config of a narrow ResNet-18 with a head of one convolution."""
    norm = {"type": "BN"}
    return {
        "type": "EncoderDecoder",
        "data_preprocessor": {
            "type": "SegDataPreProcessor",
            "mean": [123.675, 116.28, 103.53],
            "std": [58.395, 57.12, 57.375],
            "bgr_to_rgb": True,
            "size": (32, 32),
        },
        "backbone": {
            **{"type": "ResNet", "depth": 18, "base_channels": 4, "stem_channels": 4, "norm_cfg": norm},
            **{"strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4)},
        },
        "decode_head": {
            **{"type": "FCNHead", "in_channels": 32, "in_index": 3, "channels": 8, "num_convs": 1},
            **{"concat_input": False, "dropout_ratio": 0, "num_classes": classes, "norm_cfg": norm},
            "loss_decode": {"type": "CrossEntropyLoss", "avg_non_ignore": True},
        },
        "test_cfg": {"mode": "whole"},
    }


def built(config: dict[str, Any], seed: int = 0) -> BaseSegmentor:
    """Build a network with random weights, in eval mode."""
    with torch.random.fork_rng(devices=[]), DefaultScope.overwrite_default_scope("mmseg"):
        torch.manual_seed(seed)
        model = MODELS.build(config)
        model.init_weights()
    return model.eval()


def save_run(config: RunConfig, model: BaseSegmentor | None) -> str:
    """Write the files of a run, and return the URI of its weights.

    Args:
        config: config of the run.
        model: trained network with the config `small_config()`; None for a run whose segmenter is not trained yet.
    """
    files, store = RunFiles(config.store, config.name), ArtifactStore(config.store)
    key = ArtifactKey("segmenter", "a" * 16, 0, "b" * 16)
    uri = store.artifact_uri(key)
    if model is not None:
        vocabulary = load_vocabulary(config.dataset.classes)
        names = [entry.name for entry in vocabulary.classes]
        save_segmenter(weights_uri(uri), small_config(), model.state_dict(), names, vocabulary.palette)
        with store.writer(key, SEGMENTER.schema, {"weights": describe_weights(uri)}):
            pass
    run = {**RUN, "name": config.name, "state": "completed", "config": config.model_dump(mode="json")}
    files.write_json("run.json", run)
    files.write_json("metrics.json", {"stages": {}})
    files.write_table("manifest.parquet", MANIFEST_SCHEMA.empty_table())
    files.write_table("rejects.parquet", REJECTS_SCHEMA.empty_table())
    shards = [{"stage": "masks", "artifact": "x"}, {"stage": "segmenter", "artifact": uri if model else None}]
    files.write_table("status.parquet", pa.Table.from_pylist(shards, schema=STATUS_SCHEMA))
    return weights_uri(uri)
