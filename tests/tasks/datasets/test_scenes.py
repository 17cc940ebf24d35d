import io

import fsspec
import numpy as np
import pytest
from PIL import Image

from clipes_core.config import DatasetConfig, parse_config
from clipes_core.demo.scenes import CLASS_NAMES, scene_of_seed
from tasks.config_files import resolved
from tasks.datasets import read_dataset
from tasks.datasets.scenes import SCENE_SIZE, SPLIT_FILE
from tasks.vocabularies import load_vocabulary


@pytest.fixture(scope="module")
def vocabulary():
    return load_vocabulary("scenes")


def scenes_config(uri, **settings):
    return DatasetConfig(format="scenes", root=uri, classes="scenes", **{"seed": 3, "count": 6, **settings})


def read(uri):
    fs, path = fsspec.core.url_to_fs(uri)
    return fs.cat_file(path)


def test_the_vocabulary_is_the_generators(vocabulary):
    assert tuple(entry.name for entry in vocabulary.classes) == CLASS_NAMES


def test_scenes_are_photos_with_labels_and_truth(folder, vocabulary):
    listing = read_dataset(scenes_config(f"{folder.uri}/made"), vocabulary)
    assert not listing.rejects
    assert [photo.image_id for photo in listing.photos] == [f"scene_3_{index:05d}" for index in range(6)]
    for index, photo in enumerate(listing.photos):
        scene = scene_of_seed((3, index), SCENE_SIZE)
        truth = Image.open(io.BytesIO(read(photo.truth_uri)))
        assert (np.array(truth) == scene.truth).all()
        assert truth.getpalette()[3:6] == list(vocabulary.palette[1])
        image = np.array(Image.open(io.BytesIO(read(photo.uri))))
        assert image.shape == (SCENE_SIZE, SCENE_SIZE, 3)
        assert np.abs(image.astype(int) - scene.image_rgb).mean() < 6  # JPEG
        assert list(photo.class_ids) == list(dict.fromkeys(CLASS_NAMES.index(one.name) + 1 for one in scene.objects))


def test_scenes_that_are_there_stay_as_they_are(local, vocabulary):
    config = scenes_config(local.uri)
    first = read_dataset(config, vocabulary)
    assert read_dataset(config, vocabulary) == first


def test_scenes_whose_making_was_interrupted_are_made_again(local, vocabulary):
    config = scenes_config(local.uri)
    photos = read_dataset(config, vocabulary).photos
    fs, path = fsspec.core.url_to_fs(f"{local.uri}/{SPLIT_FILE}")
    fs.rm_file(path)
    fs.rm_file(photos[2].uri)
    assert len(read_dataset(config, vocabulary).photos) == 6


def test_another_seed_gives_other_scenes_beside_the_first_ones(tmp_path, vocabulary):
    def run_config(seed):
        dataset = {"format": "scenes", "classes": "scenes", "seed": seed, "count": 2}
        return resolved(parse_config({"name": "demo", "store": str(tmp_path), "dataset": dataset})).dataset

    one, other = run_config(0), run_config(1)
    assert one.root == f"{tmp_path}/scenes/v1-seed0-count2"
    assert one.root != other.root
    images = [read(read_dataset(config, vocabulary).photos[0].uri) for config in (one, other)]
    assert images[0] != images[1]
