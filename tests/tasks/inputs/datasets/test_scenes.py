import io

import fsspec
import numpy as np
import pytest
from PIL import Image
from support.permissions import unprivileged

from clipes.tasks.inputs.configs import resolve_config
from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes.tasks.inputs.datasets.scenes import SCENE_SIZE, scene_seed
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes_core.config.dataset import DatasetConfig
from clipes_core.config.run import parse_config
from clipes_core.demo.scenes import CLASS_NAMES, scene_of_seed
from clipes_core.errors import DatasetError


@pytest.fixture(scope="module")
def vocabulary():
    return load_vocabulary("scenes")


def scenes_config(uri, **settings):
    return DatasetConfig(format="scenes", root=uri, classes="scenes", **{"seed": 3, "count": 6, **settings})


def read(uri):
    fs, path = fsspec.core.url_to_fs(uri)
    return fs.cat_file(path)


def test_the_shipped_vocabulary_matches_the_scene_generator(vocabulary):
    assert tuple(entry.name for entry in vocabulary.classes) == CLASS_NAMES


def test_scenes_are_photos_with_labels_and_truth(folder, vocabulary):
    listing = read_dataset(scenes_config(f"{folder.uri}/made"), vocabulary)
    assert not listing.rejects
    assert [photo.image_id for photo in listing.photos] == [f"scene_3_{index:05d}" for index in range(6)]
    for index, photo in enumerate(listing.photos):
        scene = scene_of_seed(scene_seed(3, index), SCENE_SIZE)
        truth = Image.open(io.BytesIO(read(photo.truth_uri)))
        assert (np.array(truth) == scene.truth).all()
        assert truth.getpalette()[3:6] == list(vocabulary.palette[1])
        image = np.array(Image.open(io.BytesIO(read(photo.uri))))
        assert image.shape == (SCENE_SIZE, SCENE_SIZE, 3)
        assert np.abs(image.astype(int) - scene.image_rgb).mean() < 6  # JPEG is lossy
        assert list(photo.class_ids) == list(dict.fromkeys(CLASS_NAMES.index(one.name) + 1 for one in scene.objects))


def test_existing_scenes_are_not_rewritten(local, vocabulary):
    config = scenes_config(local.uri)
    first = read_dataset(config, vocabulary)
    assert read_dataset(config, vocabulary) == first


def test_missing_scenes_are_generated_when_resuming(local, vocabulary):
    config = scenes_config(local.uri)
    photos = read_dataset(config, vocabulary).photos
    fs, path = fsspec.core.url_to_fs(f"{local.uri}/v1-seed3/ImageSets/Segmentation/first6.txt")
    fs.rm_file(path)
    fs.rm_file(photos[2].uri)
    again = read_dataset(config, vocabulary).photos
    assert len(again) == 6
    assert [one for one, before in zip(again, photos, strict=True) if one != before] == [again[2]]


@pytest.mark.parametrize("damage", [b"", b"scene_3_00000\n", b"scene_3_00000\n" * 6, b"\xff"])
def test_a_damaged_list_of_scenes_is_reported_and_written_again(folder, vocabulary, damage, caplog):
    """With a shorter list, the run would use fewer photos."""
    config, name = scenes_config(folder.uri), "v1-seed3/ImageSets/Segmentation/first6.txt"
    photos, whole = read_dataset(config, vocabulary).photos, read(f"{folder.uri}/{name}")
    folder.write({name: damage})
    assert read_dataset(config, vocabulary).photos == photos
    assert read(f"{folder.uri}/{name}") == whole
    assert f"{folder.uri}/{name} has changed since clipes wrote it: clipes writes it again" in caplog.messages


def test_a_larger_count_starts_with_the_same_scenes(local, vocabulary):
    short = read_dataset(scenes_config(local.uri), vocabulary).photos
    longer = read_dataset(scenes_config(local.uri, count=8), vocabulary).photos
    assert longer[:6] == short
    assert len(longer) == 8
    assert read_dataset(scenes_config(local.uri), vocabulary).photos == short


def test_another_seed_gives_different_scenes_in_another_folder(local, vocabulary):
    one, other = (read_dataset(scenes_config(local.uri, seed=seed), vocabulary).photos[0] for seed in (0, 1))
    assert one.uri == f"{local.uri}/v1-seed0/JPEGImages/scene_0_00000.jpg"
    assert read(one.uri) != read(other.uri)


def test_scenes_without_a_root_are_written_to_the_store(tmp_path):
    dataset = {"format": "scenes", "classes": "scenes"}
    config = resolve_config(parse_config({"name": "demo", "store": f"{tmp_path}/store/", "dataset": dataset}))
    assert config.dataset.root == f"{tmp_path}/store/scenes"


def test_a_different_vocabulary_is_an_error(local):
    with pytest.raises(DatasetError, match=r"set dataset\.classes to scenes"):
        read_dataset(scenes_config(local.uri), load_vocabulary("voc12"))


def test_a_root_that_is_not_writable_is_an_error(tmp_path, vocabulary):
    with pytest.raises(DatasetError, match="foo"):
        read_dataset(scenes_config("foo://bucket/scenes"), vocabulary)
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0o555)
    with unprivileged(tmp_path), pytest.raises(DatasetError, match=r"no permission .*; check its permissions"):
        read_dataset(scenes_config(f"{tmp_path}/closed"), vocabulary)


def test_scenes_of_a_clip_training_differ_from_those_of_a_data_set():
    """NumPy pads seeds with zeros; a training uses seeds of three numbers, which must not match shorter ones."""
    training = scene_of_seed((77001, 0, 5), 32)
    assert all((scene_of_seed(scene_seed(77001, index), 32).truth != training.truth).any() for index in range(20))
