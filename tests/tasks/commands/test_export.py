import io
import shutil

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.small_runs import make_run

from clipes.tasks.commands.export import Exported, export_masks, export_predictions
from clipes.tasks.inputs.pngs import palette_png
from clipes.tasks.runs.preparation import prepare_run
from clipes.tasks.runs.recorder import EVALUATION_FILE, recorded_run
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import ArtifactError, PhotoError, StageError, UsageError


def ids(content):
    return np.array(Image.open(io.BytesIO(content)))


def palette(path):
    with Image.open(path) as image:
        return image.getpalette()


def write_down(made):
    """Write the files of a run whose shards are made."""
    with recorded_run(made.run) as record:
        for each in made.records.values():
            record.ledger.started(each.stage, each.shard, 1)
            record.ledger.finished(each, 1)
    return made.run.config.store, made.run.config.name


@pytest.fixture
def golden_run(golden_made):
    return write_down(golden_made)


@pytest.fixture
def run_of(tiny, pool):
    """Make and write down a run of the photos that were added; some lose their file between listing and CAMs."""

    def run_of(until="masks", lost=(), **sections):
        run = prepare_run(tiny.config(**sections), until)
        for name in lost:
            (tiny.folder / f"{name}.png").unlink()
        return write_down(make_run(run, pool))

    return run_of


def test_every_mask_is_written_with_the_palette_of_voc(golden_run, golden_made, real_data, tmp_path):
    exported = export_masks(*golden_run, str(tmp_path / "out"), ignore_below=0)

    assert exported == Exported(written=9, left_out=0)
    rows = golden_made.rows("masks")
    assert {path.stem for path in (tmp_path / "out").iterdir()} == rows.keys()
    for image_id, row in rows.items():
        with Image.open(tmp_path / "out" / f"{image_id}.png") as image:
            assert image.mode == "P"
            assert (np.array(image) == ids(row["mask_png"])).all()
    exported = tmp_path / "out" / "2007_000068.png"
    assert palette(exported) == palette(real_data / "SegmentationClass" / "2007_000068.png")


def test_unsure_pixels_are_255(golden_run, golden_made, tmp_path):
    export_masks(*golden_run, str(tmp_path), ignore_below=0.95)

    for image_id, row in golden_made.rows("masks").items():
        mask, confidence = ids(row["mask_png"]), ids(row["confidence_png"])
        exported = ids((tmp_path / f"{image_id}.png").read_bytes())
        unsure = confidence < 243  # 243 / 255 = 0.953 is the lowest level from 0.95 on
        assert unsure.any()
        assert (exported[unsure] == 255).all()
        assert (exported[~unsure] == mask[~unsure]).all()


def test_the_threshold_may_leave_only_the_surest(golden_run, golden_made, tmp_path):
    export_masks(*golden_run, str(tmp_path), ignore_below=1)
    row = golden_made.rows("masks")["2007_000063"]
    exported = ids((tmp_path / "2007_000063.png").read_bytes())
    assert ((exported != 255) == (ids(row["confidence_png"]) == 255)).all()


def test_photos_without_a_mask_are_left_out_and_counted(tiny, run_of):
    for name in "abc":
        tiny.add(name)

    exported = export_masks(*run_of(lost="b"), str(tiny.folder / "out"), 0)

    assert exported == Exported(written=2, left_out=1)
    assert sorted(path.name for path in (tiny.folder / "out").iterdir()) == ["a.png", "c.png"]


def test_photos_of_shards_that_were_not_made_are_left_out_and_counted(tiny, pool):
    for name in "abcdef":
        tiny.add(name)
    made = make_run(prepare_run(tiny.config(execution={"shards": 3}), "masks"), pool)
    missing = made.of("masks")[0]
    assert 0 < missing.images < 6
    del made.records["masks", missing.shard]

    exported = export_masks(*write_down(made), str(tiny.folder / "out"), 0)

    assert exported == Exported(written=6 - missing.images, left_out=missing.images)


def test_ids_with_folders_make_folders(tiny, run_of):
    (tiny.folder / "cats").mkdir()
    tiny.add("cats/a ä")
    export_masks(*run_of(), str(tiny.folder / "out"), 0)
    assert (tiny.folder / "out" / "cats" / "a ä.png").is_file()


def test_masks_may_go_anywhere(tiny, run_of):
    tiny.add("a")
    store, name = run_of()
    export_masks(store, name, "memory://exported/masks", 0)
    assert ids(fsspec.filesystem("memory").cat_file("/exported/masks/a.png")).shape == (48, 64)


def test_an_export_replaces_an_earlier_one(tiny, run_of):
    tiny.add("a", "cat;dog")
    store, name = run_of()
    for ignore_below in (1, 0):
        export_masks(store, name, str(tiny.folder / "out"), ignore_below)
    assert 255 not in ids((tiny.folder / "out" / "a.png").read_bytes())


def test_an_unknown_run_is_told_so(golden_run, tmp_path):
    store, _ = golden_run
    with pytest.raises(UsageError, match=rf"^no run other in {store}; there are: golden.*\. Name another store"):
        export_masks(store, "other", str(tmp_path), 0)


def test_a_run_without_masks_is_told_so(tiny, run_of):
    tiny.add("a")
    with pytest.raises(StageError, match=r"^run tiny has no masks yet: run it up to the stage masks$"):
        export_masks(*run_of(until="cams"), str(tiny.folder / "out"), 0)
    assert not (tiny.folder / "out").exists()


def test_artifacts_that_are_gone_are_told_so(tiny, run_of):
    tiny.add("a")
    store, name = run_of()
    shutil.rmtree(f"{store}/artifacts/masks")
    with pytest.raises(ArtifactError, match="is missing: run again, and clipes rebuilds it"):
        export_masks(store, name, str(tiny.folder / "out"), 0)


def test_the_colours_are_those_of_the_run_also_when_its_vocabulary_is_gone(tiny, run_of):
    own = tiny.folder / "own.yaml"
    own.write_text("classes: [{name: cat, colour: [9, 8, 7]}]\nbackground_words: [sky]\n")
    tiny.add("a")
    store, name = run_of(dataset={"classes": str(own)})
    own.unlink()

    export_masks(store, name, str(tiny.folder / "out"), 0)

    assert palette(tiny.folder / "out" / "a.png")[3:6] == [9, 8, 7]
    assert ArtifactStore(store).run_names() == ["tiny"]


@pytest.mark.parametrize("image_id", ["../a", "/a", "b/../../a"])
def test_an_id_that_leads_out_of_the_folder_is_never_written(tiny, run_of, tmp_path, image_id):
    tiny.add("a")
    store, name = run_of()
    (row,) = (
        row
        for row in ArtifactStore(store).read(f"{store}/runs/{name}/status.parquet").to_pylist()
        if row["stage"] == "masks"
    )
    path = row["artifact"].removeprefix("file://")
    table = pq.read_table(path)
    forged = table.set_column(0, "image_id", pa.array([image_id]))
    pq.write_table(forged, path, write_page_checksum=True)

    with pytest.raises(PhotoError, match="is no path below"):
        export_masks(store, name, str(tmp_path / "sub" / "out"), ignore_below=0)
    assert list(tmp_path.rglob("a.png")) == [tiny.folder / "a.png"]


@pytest.fixture
def evaluated(tiny, run_of):
    """A run whose segmenter has predicted photos as their rows say, in a split."""

    def evaluated(rows, photos, **evaluation):
        tiny.add("a")
        store_uri, name = run_of(until="cams", evaluation=evaluation)
        store, uri = ArtifactStore(store_uri), f"{tiny.folder}/scores.parquet"
        pq.write_table(pa.Table.from_pylist(rows), uri, write_page_checksum=True)
        status = pa.Table.from_pylist([{"stage": "segmenter_scores", "artifact": uri}])
        store.write_run_table(name, "status.parquet", status)
        store.write_run_table(name, EVALUATION_FILE, pa.Table.from_pylist([{"image_id": photo} for photo in photos]))
        return store_uri, name

    return evaluated


def predicted(image_id, class_id):
    colours = np.array([(number, 7, 7) for number in range(256)], np.uint8)
    png = palette_png(np.full((2, 3), class_id, np.uint8), colours)
    return {"image_id": image_id, "status": "ok", "mask_png": png}


def test_predictions_lie_where_the_server_of_voc_wants_them(evaluated, tmp_path):
    failed = {"image_id": "2007_000003", "status": "error", "mask_png": b""}
    rows = [predicted("2007_000001", 20), predicted("2007_000002", 0), failed]
    photos = [*(row["image_id"] for row in rows), "2007_000004"]
    store, name = evaluated(rows, photos, split="ImageSets/Segmentation/val.txt")

    exported = export_predictions(store, name, str(tmp_path / "out"))

    assert exported == Exported(written=2, left_out=2)
    folder = tmp_path / "out" / "results" / "VOC2012" / "Segmentation" / "comp6_val_cls"
    assert {path.name: ids(path.read_bytes()).max() for path in folder.iterdir()} == {
        "2007_000001.png": 20,
        "2007_000002.png": 0,
    }
    with Image.open(folder / "2007_000001.png") as image:
        assert (image.mode, image.getpalette()[60:63]) == ("P", [20, 7, 7])


def test_predictions_of_the_photos_of_the_data_set_itself_have_its_split(evaluated, tmp_path):
    store, name = evaluated([predicted("x/b", 1)], ["x/b"], seed=3)
    export_predictions(store, name, str(tmp_path))
    assert (tmp_path / "results" / "VOC2012" / "Segmentation" / "comp6_list_cls" / "x" / "b.png").is_file()


def test_a_run_without_predictions_is_told_so(tiny, run_of):
    tiny.add("a")
    with pytest.raises(StageError, match=r"^run tiny has no predictions yet: run it up to the stage segmenter_scores$"):
        export_predictions(*run_of(until="cams"), str(tiny.folder / "out"))
