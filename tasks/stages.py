"""The stages: what each reads of the config, what it writes, and what it stands on.

A stage's work is the function `rows` of the module of its name (tasks/cams.py, ...), which worker
processes import; this table is light enough for everyone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from clipes_core.config import RunConfig
from clipes_core.vocabulary import Vocabulary
from tasks.keys import digest


@dataclass(frozen=True)
class Inputs:
    """What stage keys are made of.

    Attributes:
        config: of the run.
        vocabulary: its classes.
        model_digest: of CLIP's weights.
        precision: of the image network, with auto resolved.
    """

    config: RunConfig
    vocabulary: Vocabulary
    model_digest: str
    precision: str


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        name: also the module under tasks/ and the folder in the store.
        version: of its algorithm; raised when numbers move.
        upstream: the stages whose artifacts it reads.
        workers: who does it.
        needs_truth: only photos with a true mask have a row.
        reads: the settings that its result depends on.
        schema: of its rows.
    """

    name: str
    version: int
    upstream: tuple[str, ...]
    workers: Literal["gpu", "cpu"]
    needs_truth: bool
    reads: Callable[[Inputs], Mapping[str, Any]]
    schema: pa.Schema

    @property
    def sharded_upstream(self) -> tuple[str, ...]:
        """The upstream stages that have a row per photo."""
        return tuple(name for name in self.upstream if name != "texts")


def stage_keys(inputs: Inputs) -> dict[str, str]:
    """The key of each stage: its name, version, what it reads, and the keys it stands on."""
    keys: dict[str, str] = {}
    for stage in STAGES.values():
        above = [keys[name] for name in stage.upstream]
        keys[stage.name] = digest([stage.name, stage.version, dict(stage.reads(inputs)), above])
    return keys


def _texts_read(inputs: Inputs) -> dict[str, Any]:
    joined = inputs.config.prompts.fusion == "sentence"
    words = [
        [entry.name, entry.sentence_words if joined else entry.separate_words] for entry in inputs.vocabulary.classes
    ]
    return {
        "model": [inputs.config.clip.model, inputs.model_digest],
        "templates": inputs.config.prompts.templates,
        "fusion": inputs.config.prompts.fusion,
        "background": inputs.vocabulary.background_words if inputs.config.prompts.background else (),
        "classes": words,
    }


def _cams_read(inputs: Inputs) -> dict[str, Any]:
    return {
        "model": [
            inputs.config.clip.model,
            inputs.model_digest,
            inputs.config.clip.pooling,
            inputs.precision,
        ],
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

STAGES = {
    stage.name: stage
    for stage in (
        Stage("texts", 1, (), "gpu", False, _texts_read, _TEXTS_SCHEMA),
        Stage("cams", 1, ("texts",), "gpu", False, _cams_read, _CAMS_SCHEMA),
        Stage("masks", 1, ("cams",), "cpu", False, _masks_read, _MASKS_SCHEMA),
        Stage("mask_scores", 2, ("cams", "masks"), "cpu", True, _mask_scores_read, _MASK_SCORES_SCHEMA),
    )
}
SHARDED_STAGES = tuple(STAGES[name] for name in ("cams", "masks", "mask_scores"))
ALL_STAGES = ("manifest", *STAGES)  # in the order they run; what --until takes
