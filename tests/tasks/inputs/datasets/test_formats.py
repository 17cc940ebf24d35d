"""The table of data set formats, extended by a format that no other file knows."""

import subprocess
import sys

import pytest

from clipes.tasks.inputs.configs import load_config
from clipes.tasks.inputs.datasets.dataset_format import DatasetFormat
from clipes.tasks.inputs.datasets.entries import Entry, dataset_root
from clipes.tasks.inputs.datasets.formats import FORMATS, find_format
from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.storage.user_files import join, list_names
from clipes_core.errors import ConfigError


def read_folders(config, vocabulary):
    """List the photos of a split whose folders are named by class."""
    split = join(dataset_root(config), config.split)
    for label in list_names(split):
        for name in list_names(join(split, label)):
            yield Entry(f"{label}/{name}", (join(split, f"{label}/{name}"),), (vocabulary.ids[label],))


@pytest.fixture
def folders(monkeypatch):
    """Add the format `folders` to the table of formats."""
    toy = DatasetFormat(name="folders", read=read_folders)
    monkeypatch.setitem(FORMATS, toy.name, toy)
    return toy


def load(folder, dataset):
    """Load a config with the given data set."""
    (folder / "run.yaml").write_text(f"name: toy\ndataset: {dataset}\n")
    return load_config(str(folder / "run.yaml"))


@pytest.mark.usefixtures("folders")
def test_a_new_format_is_one_line_in_the_table(tmp_path):
    for place in ("data/val/dog/a.jpg", "data/val/cat/b.jpg", "data/train/cat/c.jpg"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()

    config = load(tmp_path, f"{{format: folders, root: {tmp_path}/data, split: val}}")
    vocabulary = load_vocabulary("voc12")
    labelled, unlabelled = (read_dataset(config.dataset, vocabulary, labelled) for labelled in (True, False))

    assert [(photo.image_id, photo.class_ids) for photo in labelled.photos] == [
        ("cat/b.jpg", (8,)),
        ("dog/a.jpg", (12,)),
    ]
    assert unlabelled == labelled


@pytest.mark.usefixtures("folders")
def test_settings_of_a_new_format_are_validated(tmp_path):
    with pytest.raises(ConfigError, match=r"^dataset\.root: must be set for format folders; give the data set's"):
        load(tmp_path, "{format: folders}")
    with pytest.raises(ConfigError, match=r"'scenes' or 'folders' \(got 'folder'\)$"):
        load(tmp_path, "{format: folder, root: /}")


def test_every_format_is_listed_under_its_own_name():
    assert list(FORMATS) == ["voc", "list", "coco", "scenes"]
    assert all(find_format(name).name == name for name in FORMATS)


def test_the_table_imports_no_heavy_libraries():
    program = (
        "import sys, clipes.tasks.inputs.datasets.formats\n"
        "print(*{'pandas', 'prefect', 'pyarrow', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
