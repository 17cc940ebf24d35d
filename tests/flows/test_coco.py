"""A run on a data set in COCO's layout, whose true masks are drawn from outlines."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from support.small_runs import TINY_NETWORK
from support.voc_scenes import NINE

from clipes.flows.pipeline import pipeline
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes_core.config.run import parse_config

PHOTOS = NINE[:3]


def annotations_of(number: int, ids: np.ndarray) -> list[dict]:
    """Return an annotation for each class in a true mask, and a crowd for the ignored pixels."""
    found = []
    for class_id in np.unique(ids[ids > 0]).tolist():
        encoded = coco_mask.encode(np.asfortranarray((ids == class_id).astype(np.uint8)))
        segmentation = {"size": encoded["size"], "counts": encoded["counts"].decode()}
        is_crowd = class_id == 255
        category = int(ids[(ids > 0) & (ids < 255)].min()) if is_crowd else class_id
        found.append(
            {"image_id": number, "category_id": category, "segmentation": segmentation, "iscrowd": int(is_crowd)}
        )
    return found


@pytest.fixture
def coco_root(tmp_path, scene_photos) -> Path:
    """Write a data set in COCO's layout whose outlines are those of the true masks of scenes."""
    images, annotations = [], []
    (tmp_path / "val").mkdir()
    (tmp_path / "annotations").mkdir()
    for number, name in enumerate(PHOTOS):
        photo = (scene_photos / "JPEGImages" / f"{name}.jpg").read_bytes()
        (tmp_path / "val" / f"{name}.jpg").write_bytes(photo)
        ids = np.array(Image.open(scene_photos / "SegmentationClass" / f"{name}.png"))
        images.append({"id": number, "file_name": f"{name}.jpg", "width": ids.shape[1], "height": ids.shape[0]})
        annotations += annotations_of(number, ids)
    names = [entry.name for entry in load_vocabulary("voc12").classes]
    categories = [{"id": place, "name": name} for place, name in enumerate(names, start=1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "annotations" / "instances_val.json").write_text(json.dumps(document))
    return tmp_path


@pytest.mark.slow
def test_all_scores_equal_those_with_true_masks_in_files(server, coco_root, scene_photos, seeded_weights):
    def run(name: str, **dataset: str) -> dict:
        settings = {"format": "coco", "root": str(coco_root), "split": "val", "classes": "voc12", **dataset}
        train = {
            "mmseg_config": str(TINY_NETWORK),
            "init": "none",
            "iterations": 2,
            "validate_every": 1,
            "precision": "fp32",
        }
        values = {
            "name": name,
            "store": str(coco_root / f"store-{name}"),
            "dataset": settings,
            "clip": {"pretrained": str(seeded_weights), "precision": "fp32", "device": "cpu"},
            "crf": {"enabled": False},
            "train": train,
            "evaluation": {"split": "val"},
            "execution": {"shards": 2, "runner": {"kind": "inline"}},  # which starts no processes
            "report": {"gallery": 3},
        }
        return pipeline(parse_config(values)).metrics

    drawn, files = run("drawn"), run("files", truth=str(scene_photos / "SegmentationClass"))

    for what in ("initial_cam", "refined_cam", "pseudo_mask", "centre_box", "segmenter"):
        assert drawn[what] == files[what]
    assert drawn["pseudo_mask"]["images"] == len(PHOTOS)
    assert drawn["training"]["best_miou"] == files["training"]["best_miou"]
    assert drawn["training"]["best_miou"] > 0
    for stage in ("true_masks", "evaluation_true_masks"):
        assert drawn["stages"][stage]["computed_rows"] == len(PHOTOS)
        assert stage not in files["stages"]

    again = run("drawn")

    assert again["stages"]["true_masks"]["computed_rows"] == again["stages"]["mask_scores"]["computed_rows"] == 0
    assert again["segmenter"] == drawn["segmenter"]
    page = (coco_root / "store-drawn" / "runs" / "drawn" / "report.html").read_text()
    assert "the true mask cannot be shown" not in page
