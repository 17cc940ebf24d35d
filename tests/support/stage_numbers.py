"""Numbers that summarise the results of each stage, for tests that detect changed results.

Each function for a stage takes a finished run, the id of a photo, and the height and width of this photo [px]. All
functions take the same arguments, so that a table of stages can call them; some need only the run.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from support.small_runs import Made

from clipes.tasks.stages.columns.cams import stored_cams

MEASURED = (
    ("initial_cam", 1),
    ("initial_cam", 10),
    ("refined_cam", 1),
    ("refined_cam", 2),
    ("pseudo_mask", 1),
    ("centre_box", 0),
)


def fingerprint(values: ArrayLike) -> list[float]:
    """Return the mean and a position-weighted mean, which also detects exchanged values."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return [flat.mean(), flat @ np.linspace(0, 1, flat.size) / flat.size]


def texts_numbers(made: Made, *_: Any) -> list[float]:
    features = made.run.store.read(made.of("texts")[0].uri, ["feature"])["feature"].to_pylist()
    return [len(features), *fingerprint(np.abs(features)), *fingerprint(features)]


def cams_numbers(made: Made, image_id: str, *_: Any) -> list[float]:
    row = made.rows("cams")[image_id]
    maps = [*stored_cams(row, "cam"), *stored_cams(row, "refined_cam")]
    return [*row["scores"], *(number for one in maps for number in fingerprint(one))]


def masks_numbers(made: Made, image_id: str, *_: Any) -> list[float]:
    row = made.rows("masks")[image_id]
    shares = np.array(row["class_pixels"]) / sum(row["class_pixels"])
    confidence = np.average(np.arange(256), weights=row["confidence_histogram"]) / 255
    return [*shares, confidence, *fingerprint(np.array(Image.open(io.BytesIO(row["mask_png"]))))]


def mask_scores_numbers(made: Made, image_id: str, size_hw: tuple[int, int]) -> list[float]:
    row = made.rows("mask_scores")[image_id]
    columns = [row[name] for name in ("scored", "background_power", "truth", "prediction", "pixels")]
    right = dict.fromkeys(MEASURED, 0)
    for scored, power, truth, prediction, pixels in zip(*columns, strict=True):
        if (scored, power) in right and truth == prediction:
            right[scored, power] += pixels
    height, width = size_hw
    return [pixels / height / width for pixels in right.values()]


def segmenter_numbers(made: Made, *_: Any) -> list[float]:
    (record,) = made.of("segmenter")
    points = made.run.store.read(record.uri, ["loss", "learning_rate", "kept_fraction"]).to_pylist()
    return [*(point["loss"] for point in points[::8]), points[2]["learning_rate"], points[-1]["kept_fraction"]]


def segmenter_agreement_numbers(made: Made, *_: Any) -> list[float]:
    found = np.array([row["agreement"] for row in made.rows("segmenter_agreement").values()])
    return [found.mean(), found.std()]


def segmenter_scores_numbers(made: Made, *_: Any) -> list[float]:
    rows = made.rows("segmenter_scores").values()
    pixels = np.sum([row["class_pixels"] for row in rows], axis=0)
    right = sum(
        count
        for row in rows
        for truth, prediction, count in zip(row["truth"], row["prediction"], row["pixels"], strict=True)
        if truth == prediction
    )
    return [right / pixels.sum(), *fingerprint(pixels / pixels.sum())]


def candidate_texts_numbers(made: Made, *_: Any) -> list[float]:
    uris = [record.uri for record in made.of("candidate_texts")]
    features = [made.run.store.read(uri, ["feature"])["feature"].to_pylist() for uri in uris]
    return [*np.shape(features)[:2], *fingerprint(np.abs(features)), *fingerprint(features)]


def embeddings_numbers(made: Made, image_id: str, *_: Any) -> list[float]:
    row = made.rows("embeddings")[image_id]
    return [row["logit_scale"], *fingerprint(np.abs(row["embedding"])), *fingerprint(row["embedding"])]


def prompts_numbers(made: Made, image_id: str, *_: Any) -> list[float]:
    return [100 * score for score in made.rows("prompts")[image_id]["scores"]]


def word_texts_numbers(made: Made, *_: Any) -> list[float]:
    features = [made.run.store.read(record.uri, ["feature"])["feature"].to_pylist() for record in made.of("word_texts")]
    return [*np.shape(features)[:2], *fingerprint(np.abs(features)), *fingerprint(features)]


def word_scores_numbers(made: Made, image_id: str, *_: Any) -> list[float]:
    row = made.rows("word_scores")[image_id]
    return [*fingerprint(row["text_logits"]), *row["word_logits"]]


def prompt_scores_numbers(made: Made, image_id: str, size_hw: tuple[int, int]) -> list[float]:
    row = made.rows("prompt_scores")[image_id]
    columns = [row[name] for name in ("template", "scored", "background_power", "truth", "prediction", "pixels")]
    right = {(template, *measured): 0 for template in (0, 1) for measured in MEASURED[:4]}
    for template, scored, power, truth, prediction, pixels in zip(*columns, strict=True):
        if (template, scored, power) in right and truth == prediction:
            right[template, scored, power] += pixels
    height, width = size_hw
    return [pixels / height / width for pixels in right.values()]
