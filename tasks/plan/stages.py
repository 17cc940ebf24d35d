"""The stages: what each reads of the config, what it writes, and what it stands on.

A stage's work is the function `rows` of the module of its name (tasks/cams.py, ...), which worker
processes import; this table is light enough for everyone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from clipes.tasks.plan.keys import digest
from clipes_core.config.run import RunConfig
from clipes_core.vocabulary import Vocabulary


@dataclass(frozen=True)
class Inputs:
    """What stage keys are made of.

    Attributes:
        config: of the run.
        vocabulary: its classes.
        model_digest: of CLIP's weights.
        precision: of the image network, with auto resolved.
        candidates: templates that are ranked; none in a run whose template is given.
        sampled: those of them whose CAMs are scored.
        training: digest of all that the training of the segmenter reads of config and files; None without one.
    """

    config: RunConfig
    vocabulary: Vocabulary
    model_digest: str
    precision: str
    candidates: tuple[str, ...] = ()
    sampled: tuple[str, ...] = ()
    training: str | None = None


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        name: also the module under tasks/ and the folder in the store.
        version: of its algorithm; raised when numbers move.
        upstream: the stages whose artifacts it reads.
        workers: who does it.
        needs_truth: only photos with a true mask have a row.
        reads: the settings that its result depends on; None where they are not known (yet).
        schema: of its rows.
        rows_of: what has a row: a photo of the data set or of the evaluation, a text, a step of a training. Stages with
            a row per photo are cut into shards.
        needs_labels: only photos with a class have a row.
        sampled: only the photos of the run's sample have a row.
        pooled: the run itself reads the artifacts of all shards together; each is read wholly before it counts as
            cached, so that a broken one is met, and made again, in its own task run.
    """

    name: str
    version: int
    upstream: tuple[str, ...]
    workers: Literal["gpu", "cpu"]
    needs_truth: bool
    reads: Callable[[Inputs], Mapping[str, Any] | None]
    schema: pa.Schema
    rows_of: Literal["dataset", "evaluation", "texts", "training"] = "dataset"
    needs_labels: bool = False
    sampled: bool = False
    pooled: bool = False

    @property
    def sharded(self) -> bool:
        """Whether it has a row per photo, and a shard for some of them."""
        return self.rows_of in ("dataset", "evaluation")

    @property
    def sharded_upstream(self) -> tuple[str, ...]:
        """The upstream stages that have a row per photo."""
        return tuple(name for name in self.upstream if STAGES[name].sharded)


def stage_keys(inputs: Inputs) -> dict[str, str]:
    """The key of each stage: its name, version, what it reads, and the keys it stands on.

    Stages that read what is not known are left out: templates to rank or to sample, or the one that auto stands for.
    """
    keys: dict[str, str] = {}
    for stage in STAGES.values():
        reads = stage.reads(inputs)
        if reads is not None and all(name in keys for name in stage.upstream):
            keys[stage.name] = _stage_key(stage, reads, [keys[name] for name in stage.upstream])
    return keys


def texts_stage_key(inputs: Inputs, templates: tuple[str, ...]) -> str:
    """The stage key of the texts in some templates, whichever stage makes them."""
    return _stage_key(STAGES["texts"], _texts_in(inputs, templates), [])


def _stage_key(stage: Stage, reads: Mapping[str, Any], above: list[str]) -> str:
    return digest([stage.name, stage.version, dict(reads), above])


def _texts_read(inputs: Inputs) -> dict[str, Any] | None:
    templates = inputs.config.prompts.templates
    return _texts_in(inputs, templates) if templates else None


def _texts_in(inputs: Inputs, templates: tuple[str, ...]) -> dict[str, Any]:
    joined = inputs.config.prompts.fusion == "sentence"
    words = [
        [entry.name, entry.sentence_words if joined else entry.separate_words] for entry in inputs.vocabulary.classes
    ]
    return {
        "model": [inputs.config.clip.model, inputs.model_digest],
        "templates": templates,
        "fusion": inputs.config.prompts.fusion,
        "background": inputs.vocabulary.background_words if inputs.config.prompts.background else (),
        "classes": words,
    }


def _candidate_texts_read(inputs: Inputs) -> dict[str, Any] | None:
    keys = [texts_stage_key(inputs, (template,)) for template in inputs.candidates]
    return {"texts": keys} if keys else None


def _embeddings_read(inputs: Inputs) -> dict[str, Any]:
    return {"model": _image_network(inputs), "photo": _photo_settings(inputs)}


def _prompts_read(_inputs: Inputs) -> dict[str, Any]:
    return {}  # all it reads is in its upstream's keys


def _prompt_scores_read(inputs: Inputs) -> dict[str, Any] | None:
    if not inputs.sampled:
        return None
    return {**_cams_read(inputs), "templates": inputs.sampled, "classes": len(inputs.vocabulary.classes)}


def _cams_read(inputs: Inputs) -> dict[str, Any]:
    return {
        "model": _image_network(inputs),
        "cam": inputs.config.cam.model_dump(),
        "photo": _photo_settings(inputs),
    }


def _masks_read(inputs: Inputs) -> dict[str, Any]:
    return {
        "crf": inputs.config.crf.model_dump(),
        "confidence": inputs.config.confidence.model_dump(),
        "palette": inputs.vocabulary.palette,
        "photo": _photo_settings(inputs),
    }


def _mask_scores_read(inputs: Inputs) -> dict[str, Any]:
    return {"classes": len(inputs.vocabulary.classes)}


def _segmenter_read(inputs: Inputs) -> dict[str, Any] | None:
    return None if inputs.training is None else {"training": inputs.training}


def _segmenter_scores_read(inputs: Inputs) -> dict[str, Any]:
    evaluation = inputs.config.evaluation
    slide = {} if evaluation.mode == "whole" else evaluation.model_dump(include={"crop", "stride"})
    return {
        "evaluation": evaluation.model_dump(include={"mode", "scales", "flip", "merge"}) | slide,
        "crf": evaluation.crf.model_dump() if evaluation.crf.enabled else None,
        "palette": inputs.vocabulary.palette,
        "photo": _photo_settings(inputs),
    }


def _image_network(inputs: Inputs) -> list[str]:
    return [inputs.config.clip.model, inputs.model_digest, inputs.config.clip.pooling, inputs.precision]


def _photo_settings(inputs: Inputs) -> dict[str, Any]:
    return inputs.config.dataset.model_dump(include={"exif", "max_side"})


_PHOTO_COLUMNS = [
    ("image_id", pa.string()),
    ("status", pa.string()),  # ok | error
    ("error", pa.string()),
    ("error_kind", pa.string()),
    ("input_digest", pa.string()),  # of what the row was made from
    ("output_digest", pa.string()),  # of the row itself
]
_TEXTS_SCHEMA = pa.schema(
    [
        ("class_id", pa.int16()),
        ("name", pa.string()),
        ("sentences", pa.list_(pa.string())),
        ("feature", pa.list_(pa.float32())),
    ]
)
_EMBEDDINGS_SCHEMA = pa.schema(
    [
        *_PHOTO_COLUMNS,
        ("notes", pa.list_(pa.string())),  # what had to be converted
        ("class_ids", pa.list_(pa.int16())),
        ("embedding", pa.list_(pa.float32())),  # not normalised
        ("logit_scale", pa.float32()),  # CLIP's, after exp; the same in every row
    ]
)
_PROMPTS_SCHEMA = pa.schema(
    [
        *_PHOTO_COLUMNS,
        ("class_ids", pa.list_(pa.int16())),
        ("scores", pa.list_(pa.float32())),  # (T, K) C order: per template those of class_ids
    ]
)
_PROMPT_SCORES_SCHEMA = pa.schema(
    [
        *_PHOTO_COLUMNS,
        ("template", pa.list_(pa.int32())),  # place among the sampled ones, per triplet
        ("scored", pa.list_(pa.string())),  # initial_cam | refined_cam
        ("background_power", pa.list_(pa.float32())),
        ("truth", pa.list_(pa.uint8())),
        ("prediction", pa.list_(pa.uint8())),
        ("pixels", pa.list_(pa.int64())),
    ]
)
_CAMS_SCHEMA = pa.schema(
    [
        *_PHOTO_COLUMNS,
        ("notes", pa.list_(pa.string())),  # what had to be converted
        ("height", pa.int32()),  # of the photo; CAM and CRF work at work_height x work_width
        ("width", pa.int32()),
        ("work_height", pa.int32()),
        ("work_width", pa.int32()),
        ("grid_h", pa.int32()),
        ("grid_w", pa.int32()),
        ("class_ids", pa.list_(pa.int16())),
        ("scores", pa.list_(pa.float32())),
        ("cam", pa.binary()),  # float16 little-endian (K, grid_h, grid_w)
        ("refined_cam", pa.binary()),
        ("refined_residual", pa.binary()),  # what float16 rounds off refined_cam
    ]
)
_MASKS_SCHEMA = pa.schema(
    [
        *_PHOTO_COLUMNS,
        ("class_ids", pa.list_(pa.int16())),
        ("mask_png", pa.binary()),
        ("confidence_png", pa.binary()),
        ("class_pixels", pa.list_(pa.int64())),  # background, then class_ids
        ("confidence_histogram", pa.list_(pa.int64())),  # 256 counts
    ]
)
_MASK_SCORES_SCHEMA = pa.schema(
    [
        *_PHOTO_COLUMNS,
        ("scored", pa.list_(pa.string())),  # centre_box | initial_cam | refined_cam | pseudo_mask, per triplet
        ("background_power", pa.list_(pa.float32())),  # 0 for centre_box, which has none
        ("truth", pa.list_(pa.uint8())),
        ("prediction", pa.list_(pa.uint8())),
        ("pixels", pa.list_(pa.int64())),
    ]
)

_SEGMENTER_SCHEMA = pa.schema(
    [
        ("iteration", pa.int64()),  # how many steps were done
        ("loss", pa.float64()),  # mean over the steps since the row before
        ("learning_rate", pa.float64()),  # of the first parameter group
        ("kept_fraction", pa.float64()),  # of the labelled pixels, those whose confidence counts
        ("miou", pa.float64()),  # on photos of the evaluation, null where it was not measured
    ]
)
_SEGMENTER_SCORES_SCHEMA = pa.schema(
    [
        *_PHOTO_COLUMNS,
        ("mask_png", pa.binary()),
        ("class_pixels", pa.list_(pa.int64())),  # 1 + K: background, then all classes
        ("truth", pa.list_(pa.uint8())),  # triplets; none where the photo has no truth
        ("prediction", pa.list_(pa.uint8())),
        ("pixels", pa.list_(pa.int64())),
    ]
)

STAGES = {
    stage.name: stage
    for stage in (
        Stage("candidate_texts", 1, (), "gpu", False, _candidate_texts_read, _TEXTS_SCHEMA, rows_of="texts"),
        Stage("embeddings", 1, (), "gpu", False, _embeddings_read, _EMBEDDINGS_SCHEMA, needs_labels=True),
        Stage(
            *("prompts", 1, ("candidate_texts", "embeddings"), "cpu", False, _prompts_read, _PROMPTS_SCHEMA),
            needs_labels=True,
            pooled=True,
        ),
        Stage(
            *("prompt_scores", 1, ("candidate_texts",), "gpu", True, _prompt_scores_read, _PROMPT_SCORES_SCHEMA),
            needs_labels=True,
            sampled=True,
            pooled=True,
        ),
        Stage("texts", 1, (), "gpu", False, _texts_read, _TEXTS_SCHEMA, rows_of="texts"),
        Stage("cams", 1, ("texts",), "gpu", False, _cams_read, _CAMS_SCHEMA),
        Stage("masks", 1, ("cams",), "cpu", False, _masks_read, _MASKS_SCHEMA),
        Stage("mask_scores", 2, ("cams", "masks"), "cpu", True, _mask_scores_read, _MASK_SCORES_SCHEMA, pooled=True),
        Stage(
            *("segmenter", 1, ("masks",), "gpu", False, _segmenter_read, _SEGMENTER_SCHEMA),
            rows_of="training",
            pooled=True,
        ),
        Stage(
            *("segmenter_scores", 1, ("segmenter",), "gpu", False, _segmenter_scores_read, _SEGMENTER_SCORES_SCHEMA),
            rows_of="evaluation",
            pooled=True,
        ),
    )
}
TEXT_STAGES = tuple(stage.name for stage in STAGES.values() if stage.rows_of == "texts")  # a shard per template
SHARDED_STAGES = tuple(stage for stage in STAGES.values() if stage.sharded)
ALL_STAGES = ("manifest", *STAGES)  # in the order they run
RANKING_STAGES = ("candidate_texts", "embeddings", "prompts")  # when templates are ranked
TRAINING_STAGES = ("segmenter", "segmenter_scores")  # with train.enabled
RUN_STAGES = ("manifest", "texts", "cams", "masks", "mask_scores", *TRAINING_STAGES)  # what --until takes
