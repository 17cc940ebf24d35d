import fsspec
import numpy as np
import pytest
from PIL import Image

from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes_core.errors import ConfigError


def write(folder, text):
    path = folder / "own.yaml"
    path.write_text(text)
    return str(path)


def test_voc12_has_the_classes_words_and_background_words_of_the_paper():
    voc = load_vocabulary("voc12")

    words = [entry.sentence_words for entry in voc.classes]
    assert " · ".join(words) == (
        "aeroplane · bicycle · bird avian · boat · bottle · bus · car · cat · chair seat · cow · "
        "diningtable · dog · horse · motorbike · person with clothes,people,human · pottedplant · sheep · "
        "sofa · train · tvmonitor screen"
    )
    renamed = {entry.name: entry.separate_words for entry in voc.classes if entry.words}
    assert renamed == {
        "bird": ("bird", "avian"),
        "chair": ("chair", "seat"),
        "person": ("person with clothes", "people", "human"),
        "tvmonitor": ("tvmonitor", "screen"),
    }
    assert ", ".join(voc.background_words) == (
        "ground, land, grass, tree, building, wall, sky, lake, water, river, sea, railway, railroad, "
        "keyboard, helmet, cloud, house, mountain, ocean, road, rock, street, valley, bridge, sign"
    )


def test_voc12_has_the_palette_of_the_real_masks(real_data):
    mask = Image.open(real_data / "SegmentationClass" / "2007_000033.png")
    stored = np.array(mask.getpalette()).reshape(-1, 3)

    assert np.array_equal(load_vocabulary("voc12").palette, stored)


def test_coco14_has_the_official_order_and_the_spellings_of_the_paper():
    coco = load_vocabulary("coco14")

    assert len(coco.classes) == 80
    assert len(coco.background_words) == 23
    voc_background = load_vocabulary("voc12").background_words
    assert [word for word in voc_background if word not in coco.background_words] == ["keyboard", "sign"]
    some = {"person": 1, "motorbike": 4, "aeroplane": 5, "boat": 9, "elephant": 21, "bottle": 40, "spoon": 45}
    more = {"sofa": 58, "pottedplant": 59, "diningtable": 61, "tvmonitor": 63, "laptop": 64, "toothbrush": 80}
    assert (some | more).items() <= coco.ids.items()


def test_coco14_knows_the_six_official_spellings_as_aliases():
    coco = load_vocabulary("coco14")

    aliases = {alias: entry.name for entry in coco.classes for alias in entry.aliases}
    assert aliases == {
        "motorcycle": "motorbike",
        "airplane": "aeroplane",
        "couch": "sofa",
        "potted plant": "pottedplant",
        "dining table": "diningtable",
        "tv": "tvmonitor",
    }


def test_coco14_gives_thirteen_classes_words_that_differ_from_the_name():
    renamed = {entry.name: entry.words for entry in load_vocabulary("coco14").classes if entry.words}
    assert renamed == {
        "person": "person with clothes,people,human",
        "bird": "bird avian",
        "backpack": "backpack,bag",
        "umbrella": "umbrella,parasol",
        "handbag": "handbag,purse",
        "tie": "necktie",
        "snowboard": "sknowboard",
        "baseball glove": "glove",
        "spoon": "dessertspoon",
        "chair": "chair seat",
        "tvmonitor": "tvmonitor screen",
        "remote": "remote control",
        "hair drier": "hairdrier,blowdrier",
    }


def test_a_vocabulary_may_be_read_from_a_path_or_a_uri(tmp_path):
    hen, ox = "{name: hen, colour: [9, 8, 7]}", "{name: ox, synonyms: [ox, bull]}"
    text = f"background_words: [sky]\nclasses: [{hen}, {ox}]\n"
    fsspec.filesystem("memory").pipe("/vocabularies/own.yml", text.encode())

    here, there = load_vocabulary(write(tmp_path, text)), load_vocabulary("memory://vocabularies/own.yml")

    assert here == there
    assert here.ids == {"hen": 1, "ox": 2}
    assert here.palette[1] == (9, 8, 7)
    assert here.classes[1].separate_words == ("ox", "bull")


def test_a_list_of_names_has_the_background_words_of_voc():
    voc = load_vocabulary("voc12")

    own = load_vocabulary(("hen", "House"))

    assert own.ids == {"hen": 1, "House": 2}
    assert [entry.sentence_words for entry in own.classes] == ["hen", "House"]
    assert own.background_words == tuple(word for word in voc.background_words if word != "house")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "dataset.classes: the list: got no classes, but at least one is needed"),
        (("dog", "dog"), "the list: class names and aliases must be unique, but these occur more than once: dog"),
        (("dog", ""), "the list: classes.1.name: must not be empty"),
        (("background",), "the list: the background must not be a class"),
    ],
)
def test_the_error_for_an_unusable_list_of_names_gives_the_reason(names, message):
    with pytest.raises(ConfigError, match=message):
        load_vocabulary(names)


def test_the_error_for_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ConfigError,
        match=r"no vocabulary 'voc13' at .*voc13.yaml; known names: coco14, scenes, voc12; choose one, or give",
    ):
        load_vocabulary("voc13")


def test_the_error_for_a_missing_file_names_it(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset.classes: no vocabulary '.*/none.yaml' at .*/none.yaml"):
        load_vocabulary(f"{tmp_path}/none.yaml")


def test_every_bad_value_gets_its_own_error_line(tmp_path):
    hen, ox, no = "{name: hen, color: red}", "{words: ox}", "{name: no}"
    path = write(tmp_path, f"classes: [{hen}, {ox}, {no}, {{name: ant}}]\nbackground: [sky]\n")

    with pytest.raises(ConfigError) as error:
        load_vocabulary(path)

    assert str(error.value).splitlines() == [
        f"dataset.classes: {path}: classes.0.color: unknown key",
        f"dataset.classes: {path}: classes.1.name: must be set",
        f"dataset.classes: {path}: classes.2.name: expected text (quote numbers, dates and words such as yes), "
        "got false",
        f"dataset.classes: {path}: background: unknown key",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [dog]", "classes.0: expected keys and values, such as {name: dog} for a class, got dog"),
        ("classes: dog", "classes: expected a list, got dog"),
        ("classes: []", "got no classes, but at least one is needed"),
        (
            "classes: [{name: 2001-01-01}]",
            "classes.0.name: expected text (quote numbers, dates and words such as yes), got 2001-01-01",
        ),
        ("classes: [{name: a, words: ''}]", "classes.0.words: must not be empty"),
        (f"classes: [{{name: {'x' * 5000}}}]", "classes.0.name: must have at most 4096 characters"),
        ("classes: [{name: a, synonyms: b}]", "classes.0.synonyms: expected a list, got b"),
        ("classes: [{name: a, colour: red}]", "classes.0.colour: expected a list, got red"),
        ("classes: [{name: a, colour: [1, 2]}]", "classes.0.colour.2: must be set"),
        (
            "classes: [{name: a, colour: [1, 2, 3, 4]}]",
            "classes.0.colour: expected three numbers from 0 to 255, got [1, 2, 3, 4]",
        ),
        ("classes: [{name: a, colour: [1, 2, 300]}]", "classes.0.colour.2: expected a number from 0 to 255, got 300"),
        ("classes: [{name: a, colour: [1, 2, 0.5]}]", "classes.0.colour.2: expected a whole number, got 0.5"),
        ("classes: [{name: a}]\n3: b", "3: expected text as key, got 3"),
    ],
)
def test_a_bad_value_has_one_line_in_plain_words(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_vocabulary(path)
    assert str(error.value) == f"dataset.classes: {path}: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [", "own.yaml cannot be read as YAML: while parsing"),
        ("classes: 2001-99-99", "own.yaml cannot be read as YAML: month must be in 1..12"),
        ("[" * 20_000, "own.yaml cannot be read as YAML: its values are nested more than 100 times"),
        ("", "own.yaml: expected the key classes with a list of classes such as {name: dog}, .*, got null$"),
        ("[dog, cat]", r"own.yaml: expected the key classes with a list .*, got \[dog, cat\]$"),
        (
            "classes: [{name: a}, {name: a}]",
            "own.yaml: class names and aliases must be unique, but these occur more than once: a",
        ),
        (
            "classes: [{name: a}]\nclasses: [{name: b}]",
            r"own.yaml cannot be read as YAML: the key 'classes' occurs twice \(line 2\)",
        ),
        (
            "classes: [{name: a, name: b}]",
            r"own.yaml cannot be read as YAML: the key 'name' occurs twice \(line 1\)",
        ),
        (
            "classes: [{name: Background}, {name: a, aliases: ['background ']}]",
            "own.yaml: the background must not be a class, because each mask has it as id 0: delete 'Background'\n"
            "dataset.classes: .*own.yaml: .*: delete 'background '",
        ),
        (
            "classes: [{name: dog}, {name: hound, words: Dog}]",
            "own.yaml: 'dog' and 'hound' have the same words, 'Dog': change the words of one",
        ),
    ],
)
def test_the_error_for_an_unusable_file_gives_the_reason(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_vocabulary(write(tmp_path, text))


def test_background_words_that_are_words_of_a_class_are_logged(tmp_path, caplog):
    load_vocabulary(write(tmp_path, "background_words: [sky, Dog]\nclasses: [{name: dog}]"))
    assert "own.yaml: the background_words contain words of classes: Dog; delete them" in caplog.text


@pytest.mark.parametrize("name", ["voc12", "coco14", "scenes"])
def test_the_shipped_vocabularies_have_no_doubtful_words(name, caplog):
    load_vocabulary(name)
    assert caplog.text == ""


def test_a_file_that_is_not_utf8_is_a_config_error(tmp_path):
    (tmp_path / "own.yaml").write_bytes(b"classes: [{name: \xe9}]")
    with pytest.raises(ConfigError, match=r"dataset.classes: .*own.yaml: not UTF-8 text"):
        load_vocabulary(f"{tmp_path}/own.yaml")
