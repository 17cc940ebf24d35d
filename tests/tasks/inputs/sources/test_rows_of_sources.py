"""Runs of the same photos from different sources, whose rows must be equal."""

from pathlib import Path
from typing import Any

import pytest
from support.archives import parquet, tar
from support.prepared import prepare_run
from support.small_runs import make_run
from support.web_server import flaky_files, serve

from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.run import parse_config

EVERY = 4  # every fourth of the 228 photos, which gives 57
PHOTOS_PER_SHARD = 20
OF_SOURCE = ("input_digest",)  # contains the fingerprint of the photo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def photos(real_data) -> tuple[Photo, ...]:
    """Return real photos with their labels."""
    return read_dataset(DatasetConfig(root=str(real_data), split="train"), load_vocabulary("voc12")).photos[::EVERY]


def in_folder(photos: tuple[Photo, ...], root: Path) -> list[str]:
    """Copy the photos to a folder, and return the path of each photo in it."""
    root.mkdir()
    for photo in photos:
        (root / f"{photo.image_id}.jpg").write_bytes(Path(photo.uri).read_bytes())
    return [f"{photo.image_id}.jpg" for photo in photos]


def in_tars(photos: tuple[Photo, ...], root: Path) -> list[str]:
    """Write the photos to tar shards with their metadata, and return the path of each photo in them."""
    root.mkdir()
    paths = []
    for number, first in enumerate(range(0, len(photos), PHOTOS_PER_SHARD)):
        own = photos[first : first + PHOTOS_PER_SHARD]
        members = [(f"{photo.image_id}.{end}", data) for photo in own for end, data in sample(photo).items()]
        (root / f"{number:05}.tar").write_bytes(tar(members))
        paths += [f"{number:05}.tar/{photo.image_id}.jpg" for photo in own]
    return paths


def in_parquet_files(photos: tuple[Photo, ...], root: Path) -> list[str]:
    """Write the photos to Parquet files with small row groups, and return the path of each photo in them."""
    root.mkdir()
    paths = []
    for number, first in enumerate(range(0, len(photos), PHOTOS_PER_SHARD)):
        own = photos[first : first + PHOTOS_PER_SHARD]
        contents = {photo.image_id: Path(photo.uri).read_bytes() for photo in own}
        (root / f"{number:05}.parquet").write_bytes(parquet(contents, rows_per_group=10))
        paths += [f"{number:05}.parquet/{image_id}.jpg" for image_id in contents]
    return paths


def sample(photo: Photo) -> dict[str, bytes]:
    """Return the members of a photo by extension, as img2dataset writes them."""
    return {"jpg": Path(photo.uri).read_bytes(), "json": b"{}", "txt": b"a photo"}


@pytest.fixture(scope="module")
def rows(tmp_path_factory, photos, seeded_weights, pool):
    """Return a function that makes the CAMs and masks of photos that a function writes, and returns stage -> rows."""

    def rows(write, root: str = "") -> dict[str, dict[str, dict[str, Any]]]:
        folder = tmp_path_factory.mktemp(write.__name__)
        paths = write(photos, folder / "photos")
        lines = [f"{path},{';'.join(map(str, photo.class_ids))}" for path, photo in zip(paths, photos, strict=True)]
        (folder / "list.csv").write_text("\n".join(["image,labels", *lines]))
        root = root or str(folder / "photos")
        config = {
            "name": "sources",
            "store": str(folder / "store"),
            "dataset": {"format": "list", "root": root, "split": str(folder / "list.csv")},
            "clip": {"pretrained": str(seeded_weights), "precision": "fp32", "device": "cpu"},
            "crf": {"enabled": False},
            "execution": {"shards": 2},
            "train": {"enabled": False},
        }
        made = make_run(prepare_run(parse_config(config), "masks"), pool)
        return {stage: without_source(made.rows(stage)) for stage in ("cams", "masks")}

    return rows


def without_source(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        image_id: {name: value for name, value in row.items() if name not in OF_SOURCE}
        for image_id, row in rows.items()
    }


def test_a_server_that_fails_every_fifth_request_loses_no_row(photos, rows, of_folder):
    files = flaky_files({f"/{photo.image_id}.jpg": Path(photo.uri).read_bytes() for photo in photos})
    with serve(files) as url:

        def on_server(photos: tuple[Photo, ...], _: Path) -> list[str]:
            return [f"{url}/{photo.image_id}.jpg" for photo in photos]

        found = rows(on_server, root=url)
    assert found == of_folder
    assert len(files.asked) > 2 * len(photos)


@pytest.fixture(scope="module")
def of_folder(photos, rows) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the rows of the photos in a folder."""
    found = rows(in_folder)
    assert found["masks"].keys() == {photo.image_id for photo in photos}
    assert all(row["status"] == "ok" for row in found["masks"].values())
    return found


@pytest.mark.parametrize("write", [in_tars, in_parquet_files])
def test_the_rows_of_a_source_equal_those_of_a_folder(rows, of_folder, write):
    assert rows(write) == of_folder
