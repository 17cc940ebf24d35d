import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.small_runs import remove_seals

from clipes.tasks.commands.export.formats import export_run
from clipes.tasks.commands.export.request import Exported
from clipes.tasks.inputs.pngs import palette_png
from clipes.tasks.storage.layout import EVALUATION_FILE, STATUS_FILE
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_schemas.tables import MANIFEST_SCHEMA, STATUS_SCHEMA
from clipes_core.errors import ArtifactError, PhotoError, StageError


def ids(content):
    return np.array(Image.open(io.BytesIO(content)))


@pytest.fixture
def evaluated(tiny, run_of):
    """Return a function that records a run with the given segmenter rows for the given evaluation photos."""

    def evaluated(rows, photos, **evaluation):
        tiny.add("a")
        store_uri, name = run_of(until="cams", evaluation=evaluation)
        files, uri = RunFiles(store_uri, name), f"{tiny.folder}/scores.parquet"
        pq.write_table(pa.Table.from_pylist(rows), uri, write_page_checksum=True)
        made = {row["image_id"] for row in rows}
        listed = [{"image_id": photo, "shard": 0 if photo in made else 1} for photo in photos]
        manifest = pa.Table.from_pylist(listed, schema=MANIFEST_SCHEMA)
        status = pa.Table.from_pylist(
            [{"stage": "segmenter_scores", "shard": 0, "artifact": uri}], schema=STATUS_SCHEMA
        )
        remove_seals(files)
        files.write_table(STATUS_FILE, status)
        files.write_table(EVALUATION_FILE, manifest)
        return store_uri, name

    return evaluated


def predicted(image_id, class_id):
    colours = np.array([(number, 7, 7) for number in range(256)], np.uint8)
    png = palette_png(np.full((2, 3), class_id, np.uint8), colours)
    return {"image_id": image_id, "status": "ok", "mask_png": png}


def test_predictions_have_the_layout_of_the_voc_server(evaluated, tmp_path):
    failed = {"image_id": "2007_000003", "status": "error", "mask_png": b""}
    rows = [predicted("2007_000001", 20), predicted("2007_000002", 0), failed]
    photos = [*(row["image_id"] for row in rows), "2007_000004"]
    store, name = evaluated(rows, photos, split="ImageSets/Segmentation/val.txt")

    exported = export_run("voc-server", store, name, str(tmp_path / "out"), 0)

    assert exported == Exported(written=2, left_out=1, unmade=1)
    folder = tmp_path / "out" / "results" / "VOC2012" / "Segmentation" / "comp6_val_cls"
    assert {path.name: ids(path.read_bytes()).max() for path in folder.iterdir()} == {
        "2007_000001.png": 20,
        "2007_000002.png": 0,
    }
    with Image.open(folder / "2007_000001.png") as image:
        assert (image.mode, image.getpalette()[60:63]) == ("P", [20, 7, 7])


def test_without_an_evaluation_split_the_folder_names_the_dataset_split(evaluated, tmp_path):
    store, name = evaluated([predicted("x/b", 1)], ["x/b"], seed=3)
    export_run("voc-server", store, name, str(tmp_path), 0)
    assert (tmp_path / "results" / "VOC2012" / "Segmentation" / "comp6_list_cls" / "x" / "b.png").is_file()


def test_a_run_without_predictions_is_reported(tiny, run_of):
    tiny.add("a")
    with pytest.raises(
        StageError,
        match=r"^run tiny has no predictions yet: run it up to the stage segmenter_scores first$",
    ):
        export_run("voc-server", *run_of(until="cams"), str(tiny.folder / "out"), 0)


def test_an_artifact_without_masks_is_an_error(evaluated, tmp_path):
    store, name = evaluated([{"image_id": "a", "status": "ok"}], ["a"])
    with pytest.raises(ArtifactError, match=r"lacks the columns \['mask_png'\]"):
        export_run("voc-server", store, name, str(tmp_path / "out"), 0)


@pytest.mark.parametrize("image_id", ["../a", "/a", "b/../../a", "", "a\0b"])
def test_an_id_that_points_outside_the_folder_is_refused(evaluated, tmp_path, image_id):
    store, name = evaluated([predicted("a", 1), predicted(image_id, 1)], ["a", image_id])
    with pytest.raises(PhotoError, match=r"is not a path below the data set's root|the path is empty"):
        export_run("voc-server", store, name, str(tmp_path / "out"), 0)
    assert not (tmp_path / "out").exists()
