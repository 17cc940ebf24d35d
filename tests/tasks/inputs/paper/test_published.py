import pytest
import yaml

from clipes.tasks.inputs.configs import load_config
from clipes.tasks.inputs.paper.published import (
    published_number,
    published_numbers,
    published_splits,
    read_published,
)
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.machine.shipped_files import CONFIGS, PUBLISHED
from clipes_core.errors import ConfigError

NUMBER = {"value": 58.6, "what": "initial CAM", "data": "voc12", "split": "train", "source": "a paper"}


def test_a_number_is_found_by_its_id():
    number = published_number("voc_train_caa_crf", "table2.yaml: published")
    assert (number.value, number.fraction, number.split, number.figure) == (75.0, 0.75, "train", "pseudo_mask")
    assert published_numbers()["voc_train_aug_cam_time"].fraction is None


@pytest.mark.parametrize(
    ("number_id", "text"),
    [
        ("voc_val_imagenet", "71.1"),
        ("voc_train_caa_rerun", "70.71-70.82"),
        ("voc_train_initial_grid_size", "49.0-50.0"),
    ],
)
def test_a_number_is_written_as_its_source_states_it(number_id, text):
    assert published_numbers()[number_id].text == text


def test_an_unknown_id_is_named_with_the_most_similar_one():
    with pytest.raises(ConfigError, match=r"^my\.yaml: published: no .* 'voc_train_ca'.*did you mean voc_train_caa\?$"):
        published_number("voc_train_ca", "my.yaml: published")
    with pytest.raises(ConfigError, match="use an id such as voc_train_initial, "):
        published_number("?", "my.yaml")


def test_the_sizes_of_the_splits_are_those_of_the_paper():
    sizes = {name: split.photos for data in ("voc12", "coco14") for name, split in published_splits(data).items()}
    assert sizes == {"train_aug": 10_582, "train": 1_464, "val": 1_449, "train2014": 82_081, "val2014": 40_137}
    assert published_splits("mine") == {}


@pytest.mark.parametrize("number_id", [key for key, each in published_numbers().items() if each.settings is not None])
def test_the_settings_of_a_number_are_valid(number_id, tmp_path):
    number = published_numbers()[number_id]
    values = yaml.safe_load((CONFIGS / f"{number.data}.yaml").read_text())
    values["dataset"]["root"] = str(tmp_path)
    for key, value in number.settings.items():
        section, name = key.split(".")
        values.setdefault(section, {})[name] = list(value) if isinstance(value, tuple) else value
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(values))
    config = load_config(str(tmp_path / "own.yaml"))
    class_name = (number.figure or "").partition(".")[2]
    assert not class_name or class_name in {entry.name for entry in load_vocabulary(config.dataset.classes).classes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": "much"}, r"published\.yaml\.numbers\.mine\.value: Input should be a valid number"),
        ({"valeu": 1}, r"published\.yaml\.numbers\.mine\.valeu: unknown key"),
        ({"to": 50}, "to: must be larger than value"),
        ({"figure": "initial"}, "figure: 'initial' is not a score"),
        ({"figure": "initial_cam"}, "settings: must be set"),
    ],
)
def test_a_broken_number_is_refused_with_its_key(changes, message, tmp_path):
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump({"splits": [], "numbers": {"mine": NUMBER | changes}}))
    with pytest.raises(ConfigError, match=message) as caught:
        read_published(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- 1", "numbers: {a: 1, a: 2}", "numbers: ["])
def test_a_file_that_is_no_mapping_is_refused_in_one_line(text, tmp_path):
    path = tmp_path / "published.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"published\.yaml") as caught:
        read_published(path)
    assert "\n" not in str(caught.value)


def test_every_entry_of_the_shipped_file_is_read():
    assert [*yaml.safe_load(PUBLISHED.read_text())["numbers"]] == [*published_numbers()]
