import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.prepared import prepare_ranking, prepare_run
from support.small_runs import make_run

from clipes.tasks.inputs.truth import listed_ids, load_ids
from clipes.tasks.plan.caching import Reuse
from clipes.tasks.plan.jobs import shard_job
from clipes.tasks.stages.true_masks import TRUE_MASKS
from clipes.tasks.storage.retry_policy import is_transient
from clipes_core.encodings.coco_objects import CocoObject, draw_objects
from clipes_core.errors import DatasetError

WIDTH, HEIGHT = 64, 48
CATEGORIES = [{"id": 17, "name": "cat"}, {"id": 18, "name": "dog"}, {"id": 1, "name": "person"}]
CLASS_IDS = {1: 15, 17: 8, 18: 12}  # of VOC
CROWD = {"size": [HEIGHT, WIDTH], "counts": [200, 900, WIDTH * HEIGHT - 1100]}
RLE = {"size": [HEIGHT, WIDTH], "counts": [0, 300, WIDTH * HEIGHT - 300]}
OBJECTS = {
    "a": [(17, [[5, 5, 40, 8, 30, 40]], 0), (18, [[10, 10, 20, 10, 20, 20, 10, 20], [50, 2, 60, 2, 55, 30]], 0)],
    "b": [(1, CROWD, 1), (1, [[30, 30, 60, 30, 60, 45]], 0)],
    "c": [],
    "d": [(18, RLE, 0)],
}


class CocoPhotos:
    """A data set in COCO's layout."""

    def __init__(self, tiny) -> None:
        self.tiny = tiny
        self.objects = {name: list(objects) for name, objects in OBJECTS.items()}
        self.fields: dict[str, object] = {"width": WIDTH, "height": HEIGHT}
        for name in OBJECTS:
            (self.root / "val2014").mkdir(parents=True, exist_ok=True)
            tiny.add(name).rename(self.root / "val2014" / f"{name}.jpg")

    @property
    def root(self) -> Path:
        return self.tiny.folder / "coco"

    def write(self) -> None:
        images = [{"id": name, "file_name": f"{name}.jpg", **self.fields} for name in self.objects]
        annotations = [
            {
                "id": f"{name}{place}",
                "image_id": name,
                "category_id": category,
                "segmentation": outline,
                "iscrowd": crowd,
            }
            for name, objects in self.objects.items()
            for place, (category, outline, crowd) in enumerate(objects)
        ]
        document = {"images": images, "annotations": annotations[::-1], "categories": CATEGORIES}
        (self.root / "annotations").mkdir(exist_ok=True)
        (self.root / "annotations" / "instances_val2014.json").write_text(json.dumps(document))

    def expected(self, name: str) -> np.ndarray:
        """Return the true mask of a photo, whose annotations are in reverse order in the file."""
        objects = [
            CocoObject(CLASS_IDS[category], outline, bool(crowd)) for category, outline, crowd in self.objects[name]
        ]
        return draw_objects(objects[::-1], (HEIGHT, WIDTH))

    def write_pngs(self) -> None:
        (self.root / "truth").mkdir()
        for name in self.objects:
            Image.fromarray(self.expected(name)).save(self.root / "truth" / f"{name}.png")

    def config(self, truth=None, **sections):
        dataset = {"format": "coco", "root": str(self.root), "split": "val2014", "truth": truth, "classes": "voc12"}
        return self.tiny.config(**{"dataset": dataset, "execution": {"shards": 2}, **sections})


@pytest.fixture
def coco(tiny) -> CocoPhotos:
    found = CocoPhotos(tiny)
    found.write()
    return found


def scored(coco, pool, **settings):
    reuse = settings.pop("reuse", Reuse())
    return make_run(prepare_run(coco.config(**settings), "mask_scores", reuse), pool)


def scores(made):
    names = ("scored", "background_power", "truth", "prediction", "pixels", "confidence_right")
    return {image_id: [row[name] for name in names] for image_id, row in made.rows("mask_scores").items()}


def test_scores_equal_those_with_the_same_masks_as_pngs(coco, pool):
    drawn = scored(coco, pool)
    coco.write_pngs()
    from_pngs = scored(coco, pool, truth=str(coco.root / "truth"), store=str(coco.root / "other-store"))

    assert drawn.run.stages == ("texts", "cams", "masks", "true_masks", "mask_scores")
    assert from_pngs.run.stages == ("texts", "cams", "masks", "mask_scores")
    assert scores(drawn) == scores(from_pngs)
    assert all(row["status"] == "ok" for row in drawn.rows("mask_scores").values())
    for name, row in drawn.rows("true_masks").items():
        assert (np.array(Image.open(io.BytesIO(row["mask_png"]))) == coco.expected(name)).all()
    for photos in drawn.run.inputs.shards.values():
        assert all((listed_ids(photo) == coco.expected(photo.image_id)).all() for photo in photos)


def test_a_run_renders_only_the_photo_whose_annotation_has_changed(coco, pool):
    first = scored(coco, pool)
    assert first.counts()["true_masks"] == (4, 0, 4)
    coco.objects["b"][1] = (17, *coco.objects["b"][1][1:])
    coco.write()

    again = scored(coco, pool)

    assert again.counts()["true_masks"][2] == 1
    assert again.counts()["mask_scores"][2] == 1
    rows = again.rows("true_masks")
    assert [name for name, row in first.rows("true_masks").items() if rows[name] != row] == ["b"]
    assert (load_ids(truth_uri(again, "b")) == coco.expected("b")).all()


def truth_uri(made, name):
    photos = [photo for photos in made.run.inputs.shards.values() for photo in photos]
    return next(photo.truth_uri for photo in photos if photo.image_id == name)


def test_a_damaged_artifact_is_rebuilt_when_it_is_read(coco, pool):
    first = scored(coco, pool)
    for record in first.of("true_masks"):
        Path(record.uri).unlink()
    for record in first.of("mask_scores"):
        Path(record.uri).unlink()

    again = scored(coco, pool)

    assert scores(again) == scores(first)


@pytest.mark.parametrize(
    ("outline", "reason"),
    [
        ([[0, 0, 5]], "annotation 'd0': a polygon is 3 numbers: it needs x and y of at least 3 points"),
        ({"size": [9, 9], "counts": [81]}, "annotation 'd0': an RLE has the size [9, 9], and the photo has the height"),
    ],
)
def test_a_photo_with_a_bad_outline_has_masks_but_no_scores(coco, pool, outline, reason):
    coco.objects["d"] = [(18, outline, 0)]
    coco.write()

    made = scored(coco, pool)

    assert made.rows("masks")["d"]["status"] == "ok"
    row = made.rows("true_masks")["d"]
    assert (row["status"], row["error_kind"]) == ("error", "bad_truth")
    assert row["error"].startswith(reason)
    scored_row = made.rows("mask_scores")["d"]
    assert (scored_row["error_kind"], scored_row["error"]) == ("upstream", f"no true mask: {row['error']}")
    assert made.rows("mask_scores")["a"]["status"] == "ok"


def test_a_photo_of_another_size_than_the_file_states_is_not_scored(coco, pool):
    coco.fields = {"width": HEIGHT, "height": WIDTH}
    coco.objects = {name: [] for name in OBJECTS} | {"a": OBJECTS["a"]}
    coco.write()
    row = scored(coco, pool).rows("mask_scores")["a"]
    assert row["error_kind"] == "bad_truth"
    assert "the true mask is 48x64 and the photo is 64x48" in row["error"]


def test_photos_with_objects_without_an_outline_have_no_true_mask_and_are_noted(coco):
    coco.objects["b"].append((17, [], 0))
    coco.write()
    run = prepare_run(coco.config(), "mask_scores")
    photos = {photo.image_id: photo for photos in run.inputs.shards.values() for photo in photos}
    assert [name for name, photo in photos.items() if not photo.has_truth] == ["b"]
    note = "1 images have objects without an outline (`segmentation`), so they have no true mask and are not scored"
    assert run.notes == (f"{note} (the first is b.jpg)",)


def test_a_file_without_outlines_has_no_true_masks_and_no_note(coco):
    coco.objects = {name: [(category, [], 0) for category, *_ in objects] for name, objects in OBJECTS.items()}
    coco.write()
    run = prepare_run(coco.config(), "mask_scores")
    assert "true_masks" not in run.stages
    assert run.notes == ()
    assert not any(photo.has_truth for photos in run.inputs.shards.values() for photo in photos)


@pytest.mark.parametrize("change", ["changed", "missing"])
def test_a_file_that_changes_after_the_listing_ends_the_run_without_a_retry(coco, change):
    run = prepare_run(coco.config(), "mask_scores")
    shard = run.shards(TRUE_MASKS)[0]
    job = shard_job(TRUE_MASKS, run.plan(TRUE_MASKS, shard, {}, {}), run.store, run.inputs, shard)
    file = coco.root / "annotations" / "instances_val2014.json"
    if change == "changed":
        coco.objects["d"].append(coco.objects["a"][0])
        coco.write()
        reason = "has changed since the run listed it: run again"
    else:
        file.unlink()
        reason = "does not exist: restore the file, and run again"

    with pytest.raises(DatasetError) as error:
        list(TRUE_MASKS.rows(job))

    assert str(error.value) == f"the annotation file {file} {reason}"
    assert not is_transient(error.value)


def test_a_ranking_can_be_scored_with_drawn_masks(coco):
    run = prepare_ranking(coco.config(), ("a {}.", "the {}."), scored_photos=9)
    assert run.stages[-2:] == ("true_masks", "prompt_scores")
    assert run.inputs.sample == {"a", "b", "d"}


def test_a_run_without_scores_draws_nothing(coco):
    run = prepare_run(coco.config(), "masks")
    assert "true_masks" not in run.stages
    assert all(photo.truth_uri is None for photos in run.inputs.shards.values() for photo in photos)
