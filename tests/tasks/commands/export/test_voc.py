import io
import shutil

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.prepared import prepare_run
from support.report_runs import store_and_name, write_run_files
from support.small_runs import make_run

from clipes.tasks.commands.export.formats import export_run
from clipes.tasks.storage.run_files import RunFiles, list_runs
from clipes_core.errors import ArtifactError, PhotoError, StageError, UsageError


def ids(content):
    return np.array(Image.open(io.BytesIO(content)))


def counts(exported):
    return exported.written, exported.left_out, exported.unmade


def palette(path):
    with Image.open(path) as image:
        return image.getpalette()


@pytest.fixture
def scenes_run(scenes_made):
    return store_and_name(write_run_files(scenes_made))


def test_every_mask_is_written_with_the_palette_of_voc(scenes_run, scenes_made, scene_photos, tmp_path):
    exported = export_run("voc", *scenes_run, str(tmp_path / "out"), ignore_below=0)

    assert counts(exported) == (9, 0, 0)
    rows = scenes_made.rows("masks")
    assert {path.stem for path in (tmp_path / "out").glob("*.png")} == rows.keys()
    for image_id, row in rows.items():
        with Image.open(tmp_path / "out" / f"{image_id}.png") as image:
            assert image.mode == "P"
            assert (np.array(image) == ids(row["mask_png"])).all()
    exported = tmp_path / "out" / "scene_00.png"
    assert palette(exported) == palette(scene_photos / "SegmentationClass" / "scene_00.png")


def test_the_masks_of_a_moved_store_are_exported_from_its_new_place(tiny, run_of, tmp_path):
    tiny.add("a")
    store, name = run_of()
    export_run("voc", store, name, str(tmp_path / "before"), ignore_below=0)
    shutil.move(store, tmp_path / "moved")

    export_run("voc", str(tmp_path / "moved"), name, str(tmp_path / "after"), ignore_below=0)
    assert (tmp_path / "after" / "a.png").read_bytes() == (tmp_path / "before" / "a.png").read_bytes()


def test_a_copied_store_is_read_instead_of_its_original(tiny, run_of, tmp_path):
    tiny.add("a")
    store, name = run_of()
    shutil.copytree(store, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "artifacts")
    with pytest.raises(ArtifactError, match=f"^{tmp_path}/copy/artifacts/masks/.+ is missing"):
        export_run("voc", str(tmp_path / "copy"), name, str(tmp_path / "out"), ignore_below=0)


def test_pixels_below_the_threshold_become_255(scenes_run, scenes_made, tmp_path):
    export_run("voc", *scenes_run, str(tmp_path), ignore_below=0.95)

    for image_id, row in scenes_made.rows("masks").items():
        mask, confidence = ids(row["mask_png"]), ids(row["confidence_png"])
        exported = ids((tmp_path / f"{image_id}.png").read_bytes())
        unsure = confidence < 243  # 243 / 255 = 0.953 is the lowest level of at least 0.95
        assert unsure.any() or not mask.any()  # a photo with empty CAMs is all background with full confidence
        assert (exported[unsure] == 255).all()
        assert (exported[~unsure] == mask[~unsure]).all()


def test_a_threshold_of_1_keeps_only_pixels_of_full_confidence(scenes_run, scenes_made, tmp_path):
    export_run("voc", *scenes_run, str(tmp_path), ignore_below=1)
    row = scenes_made.rows("masks")["scene_00"]
    exported = ids((tmp_path / "scene_00.png").read_bytes())
    assert ((exported != 255) == (ids(row["confidence_png"]) == 255)).all()


def test_photos_without_a_mask_are_left_out_and_counted(tiny, run_of):
    for name in "abc":
        tiny.add(name)

    exported = export_run("voc", *run_of(lost="b"), str(tiny.folder / "out"), 0)

    assert counts(exported) == (2, 1, 0)
    assert sorted(path.name for path in (tiny.folder / "out").glob("*.png")) == ["a.png", "c.png"]


def test_photos_that_were_rejected_when_listed_are_counted(tiny, run_of):
    for name in "abc":
        tiny.add(name)
    (tiny.folder / "c.png").unlink()

    assert counts(export_run("voc", *run_of(lost="b"), str(tiny.folder / "out"), 0)) == (1, 2, 0)


def test_photos_of_missing_shards_are_counted_as_not_made(tiny, pool):
    for name in "abcdef":
        tiny.add(name)
    made = make_run(prepare_run(tiny.config(execution={"shards": 3}), "masks"), pool)
    missing = made.of("masks")[0]
    assert 0 < missing.images < 6
    del made.records["masks", missing.shard]

    exported = export_run("voc", *store_and_name(write_run_files(made)), str(tiny.folder / "out"), 0)

    assert counts(exported) == (6 - missing.images, 0, missing.images)


def test_an_id_with_a_folder_creates_the_folder(tiny, run_of):
    (tiny.folder / "cats").mkdir()
    tiny.add("cats/a ä")
    export_run("voc", *run_of(), str(tiny.folder / "out"), 0)
    assert (tiny.folder / "out" / "cats" / "a ä.png").is_file()


def test_the_target_may_be_any_uri(tiny, run_of):
    tiny.add("a")
    store, name = run_of()
    export_run("voc", store, name, "memory://exported/masks", 0)
    assert ids(fsspec.filesystem("memory").cat_file("/exported/masks/a.png")).shape == (48, 64)


def test_an_export_replaces_the_files_of_an_earlier_one(tiny, run_of):
    tiny.add("a", "cat;dog")
    store, name = run_of()
    for ignore_below in (1, 0):
        export_run("voc", store, name, str(tiny.folder / "out"), ignore_below)
    assert 255 not in ids((tiny.folder / "out" / "a.png").read_bytes())


def test_an_unknown_run_is_reported(scenes_run, tmp_path):
    store, _ = scenes_run
    with pytest.raises(UsageError, match=rf"^no run other in {store}; existing runs: scenes.*\. To search"):
        export_run("voc", store, "other", str(tmp_path), 0)


def test_a_run_without_masks_is_reported(tiny, run_of):
    tiny.add("a")
    with pytest.raises(StageError, match=r"^run tiny has no pseudo masks yet: run it up to the stage masks first$"):
        export_run("voc", *run_of(until="cams"), str(tiny.folder / "out"), 0)
    assert not (tiny.folder / "out").exists()


def test_a_missing_artifact_is_reported(tiny, run_of):
    tiny.add("a")
    store, name = run_of()
    shutil.rmtree(f"{store}/artifacts/masks")
    with pytest.raises(ArtifactError, match="is missing: run again; clipes will rebuild it"):
        export_run("voc", store, name, str(tiny.folder / "out"), 0)


def test_colours_are_those_of_the_run_even_if_its_vocabulary_is_deleted(tiny, run_of):
    own = tiny.folder / "own.yaml"
    own.write_text("classes: [{name: cat, colour: [9, 8, 7]}]\nbackground_words: [sky]\n")
    tiny.add("a")
    store, name = run_of(dataset={"classes": str(own)})
    own.unlink()

    export_run("voc", store, name, str(tiny.folder / "out"), 0)

    assert palette(tiny.folder / "out" / "a.png")[3:6] == [9, 8, 7]
    assert list_runs(store) == ["tiny"]


@pytest.mark.parametrize("image_id", ["../a", "/a", "b/../../a"])
def test_an_id_that_points_outside_the_target_is_never_written(tiny, run_of, tmp_path, image_id):
    tiny.add("a")
    store, name = run_of()
    (row,) = (row for row in RunFiles(store, name).read_status() if row["stage"] == "masks")
    path = row["artifact"].removeprefix("file://")
    table = pq.read_table(path)
    forged = table.set_column(0, "image_id", pa.array([image_id]))
    pq.write_table(forged, path, write_page_checksum=True)

    with pytest.raises(PhotoError, match="is not a path below"):
        export_run("voc", store, name, str(tmp_path / "sub" / "out"), ignore_below=0)
    assert list(tmp_path.rglob("a.png")) == [tiny.folder / "a.png"]
