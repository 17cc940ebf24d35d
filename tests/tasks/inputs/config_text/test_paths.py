import os

import pytest
from support.config_files import YAML, fault

from clipes.tasks.inputs.configs import load_config, read_config
from clipes_core.errors import ConfigError

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("key", "given", "expected"),
    [
        ("store", "clipes-store", "{here}/clipes-store"),
        ("store", "./a b/ä", "{here}/a b/ä"),
        ("store", "/elsewhere", "/elsewhere"),
        ("store", "s3://bucket/store", "s3://bucket/store"),
        ("store", "memory://store", "memory://store"),
        ("dataset.root", "voc", "{here}/voc"),
        ("dataset.root", "../voc", "{here}/../voc"),
        ("dataset.truth", "masks", "{here}/masks"),
        ("dataset.truth", "gs://bucket/masks", "gs://bucket/masks"),
        ("dataset.split", "lists/nine.txt", "{here}/lists/nine.txt"),
        ("dataset.split", "nine.CSV", "{here}/nine.CSV"),
        ("dataset.split", "nine.parquet", "{here}/nine.parquet"),
        ("dataset.split", "photos", "{here}/photos"),
        ("dataset.split", "https://host/nine.txt", "https://host/nine.txt"),
        ("dataset.classes", "own.yaml", "{here}/own.yaml"),
        ("dataset.classes", "classes/own.yml", "{here}/classes/own.yml"),
        ("dataset.classes", "coco14", "coco14"),
        ("evaluation.root", "other", "{here}/other"),
        ("evaluation.root", "s3://bucket/other", "s3://bucket/other"),
        ("evaluation.truth", "masks", "{here}/masks"),
        ("evaluation.split", "lists/val.txt", "{here}/lists/val.txt"),
        ("train.mmseg_config", "demo", "demo"),
        ("train.mmseg_config", "own.py", "{here}/own.py"),
        ("train.init", "torchvision://resnet101", "torchvision://resnet101"),
        ("train.init", "run.yaml", "{here}/run.yaml"),
        ("train.init", "none", "none"),
        ("clip.pretrained", "openai", "openai"),
        ("clip.pretrained", "random:3", "random:3"),
        ("clip.pretrained", "run.yaml", "{here}/run.yaml"),
        ("clip.pretrained", "not-there.pt", "not-there.pt"),
    ],
)
def test_relative_paths_are_made_absolute(load, here, key, given, expected):
    value = load(f"{key}={given}")
    for part in key.split("."):
        value = getattr(value, part)
    assert value == expected.format(here=here)


@pytest.mark.parametrize(
    ("split", "expected"), [("train_aug", "train_aug"), ("my.txt", "{here}/my.txt"), ("a/b", "{here}/a/b")]
)
def test_a_voc_split_without_a_path_is_a_name(load, here, split, expected):
    config = load(f"dataset.split={split}", "dataset.format=voc", "dataset.root=/voc")
    assert config.dataset.split == expected.format(here=here)


@pytest.fixture
def load_below(here):
    """Return a function that writes a YAML text to a file in another folder and loads it."""

    def load_below(*overrides, text=YAML):
        (here / "configs").mkdir(exist_ok=True)
        (here / "configs" / "run.yaml").write_text(text)
        return load_config("configs/run.yaml", overrides)

    return load_below


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("dataset.root", "voc"),
        ("dataset.truth", "./masks"),
        ("dataset.split", "photos.txt"),
        ("dataset.classes", "own.yaml"),
        ("evaluation.root", "../other"),
        ("evaluation.truth", "masks"),
        ("evaluation.split", "lists/val.txt"),
        ("train.mmseg_config", "own.py"),
        ("train.init", "init.pth"),
        ("clip.pretrained", "clip.pt"),
    ],
)
def test_a_path_is_looked_up_in_the_working_directory_and_then_next_to_the_config(load_below, here, key, name):
    section, _, setting = key.partition(".")

    def loaded():
        others = {"dataset.split": "/a.txt"}
        others[key] = name
        return getattr(getattr(load_below(*(f"{each}={value}" for each, value in others.items())), section), setting)

    with pytest.raises(ConfigError) as caught:
        loaded()
    assert str(caught.value) == (
        f"{key}: {name} exists neither in the working directory, {here}, nor next to the config, in {here}/configs; "
        "correct the path"
    )
    beside, below = here / "configs" / name, here / name
    for place in (beside, below):
        place.parent.mkdir(exist_ok=True, parents=True)
        place.write_text("")
        found = loaded()
        assert found.startswith("/")
        assert os.path.normpath(found) == os.path.normpath(place)


def test_each_path_that_is_nowhere_gets_an_error_line(load_below):
    with pytest.raises(ConfigError) as caught:
        load_below("dataset.root=photos", "dataset.truth=masks")
    keys = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert keys == ["dataset.root", "dataset.truth", "dataset.split"]


@pytest.mark.parametrize(
    "override",
    ["store=new", "dataset.reach=[new]", "clip.pretrained=laion400m_e32", "train.init=none", "evaluation.root=other"],
)
def test_what_a_run_does_not_read_may_be_missing(load_below, override):
    load_below("dataset.split=/a.txt", "train.enabled=false", override)


def test_generated_scenes_and_the_store_may_be_new_folders_in_the_working_directory(load_below, here):
    config = load_below(text="name: a\nstore: new\ndataset: {format: scenes, root: scenes, classes: scenes}\n")
    assert (config.store, config.dataset.root) == (f"{here}/new", f"{here}/scenes")


def test_each_place_of_a_tuple_is_looked_up(load_below, here):
    (here / "configs" / "two").mkdir(parents=True)
    config = load_below("dataset.split=/a.txt", "dataset.reach=[one, two, s3://bucket]")
    assert config.dataset.reach == (f"{here}/one", f"{here}/configs/two", "s3://bucket")


def test_a_deployment_may_name_files_that_only_the_other_machine_has(load_below, here):
    (here / "configs").mkdir()
    (here / "configs" / "masks").mkdir()
    (here / "configs" / "run.yaml").write_text(YAML)
    config = read_config("configs/run.yaml", ["dataset.truth=masks"], runs_here=False)
    assert (config.dataset.split, config.dataset.truth) == ("photos.txt", f"{here}/configs/masks")
    assert config.model_fields_set == {"name", "dataset"}


def test_files_next_to_a_config_on_s3_are_found(here, s3, s3_folder):
    s3.files().pipe_file(f"{s3_folder}/configs/run.yaml", YAML.encode())
    s3.files().pipe_file(f"{s3_folder}/photos.txt", b"")
    uri = f"{s3_folder}/configs/run.yaml"
    assert load_config(uri, ["dataset.split=../photos.txt"]).dataset.split == f"{s3_folder}/photos.txt"
    with pytest.raises(ConfigError, match=f"nor next to the config, in {s3_folder}/configs; correct the path$"):
        load_config(uri)


LOCATIONS = [
    *["store", "dataset.root", "dataset.split", "dataset.truth", "dataset.classes", "clip.pretrained"],
    *["train.mmseg_config", "train.init", "evaluation.root", "evaluation.split", "evaluation.truth"],
]


@pytest.mark.parametrize("key", LOCATIONS)
def test_the_home_folder_is_expanded_in_every_setting_with_a_path(load, monkeypatch, key):
    monkeypatch.setenv("HOME", "/home/someone")
    value = load(f"{key}=~/own.py")
    for part in key.split("."):
        value = getattr(value, part)
    assert value == "/home/someone/own.py"


@pytest.mark.parametrize("key", LOCATIONS)
@pytest.mark.parametrize("location", ["s3:/bucket/x", "file:/x.py"])
def test_a_mistyped_uri_is_refused_in_every_setting_with_a_path(load, key, location):
    assert fault(load, f"{key}={location}").startswith(f"{key}: {location!r} is not a URI; write ")


def test_a_protocol_in_upper_case_is_refused(load):
    assert "its protocol must be in lower case" in fault(load, "dataset.root=S3://bucket/x")
