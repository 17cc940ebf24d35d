"""The files that `clipes init` writes, where it writes them, and what it refuses."""

import os
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from support.own_photos import doubts_of, init_labels, labels_read, write_photos

from clipes.tasks.commands.init.photo_folder import NOT_UTF_8
from clipes.tasks.commands.init.writing import initialise, run_name
from clipes.tasks.inputs.configs import load_config
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.training.recipes import read_recipe
from clipes_core.errors import ConfigError, UsageError

TWO = {"dog/1.jpg": {"dog"}, "cat/2.jpg": {"cat"}}


@pytest.fixture
def animals(photos):
    write_photos(photos, TWO)
    return photos


def test_the_files_lie_in_the_working_directory_and_the_photos_stay_alone(animals):
    before = sorted(animals.rglob("*"))
    done = initialise("photos")
    assert [file.relative_to(animals.parent).as_posix() for file in done.files] == [
        "photos.yaml",
        "photos-classes.yaml",
        "photos-photos.csv",
    ]
    assert sorted(animals.rglob("*")) == before
    assert labels_read(done, animals) == TWO


def test_the_working_directory_may_be_the_folder_of_the_photos(animals, monkeypatch):
    monkeypatch.chdir(animals)
    assert init_labels(animals) == TWO
    assert init_labels(animals, force=True) == TWO  # its own list is no table of labels


@pytest.mark.parametrize(("to", "name"), [("runs/pets.yaml", "pets"), ("runs", "photos")])
def test_the_files_lie_where_the_user_says_and_name_absolute_paths(animals, to, name, monkeypatch, tmp_path):
    done = initialise(str(animals), to=to)
    assert done.files[0] == animals.parent / "runs" / f"{name}.yaml"
    monkeypatch.chdir(tmp_path)
    assert labels_read(done, animals) == TWO
    assert load_config(str(done.files[0])).name == name


def test_existing_files_are_replaced_only_on_request(animals):
    done = initialise("photos")
    done.files[0].write_text("name: mine\n")
    shutil.move(done.files[2], done.files[2].with_suffix(".bak"))
    with pytest.raises(UsageError, match=r"nothing was written, because these files exist: .*photos.yaml, .*--force"):
        initialise("photos")
    assert done.files[0].read_text() == "name: mine\n"
    assert not done.files[2].exists()
    assert labels_read(initialise("photos", force=True), animals) == TWO


@pytest.mark.parametrize("to", ["photos/x.yaml", "photos", "photos/dog"])
def test_nothing_is_written_among_the_photos(animals, to):
    with pytest.raises(UsageError, match="is in the folder of the photos; name another folder"):
        initialise("photos", to=to)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folder": "gone"}, "FOLDER: no folder .*/gone"),
        ({"folder": "s3://bucket/photos"}, "clipes init reads and writes local folders"),
        ({"folder": "photos", "layout": "voc"}, "does not have the layout voc"),
    ],
)
def test_mistakes_are_usage_errors(animals, arguments, message):
    with pytest.raises(UsageError, match=message):
        initialise(**arguments)


def test_an_unknown_layout_is_refused_with_the_known_ones(animals):
    with pytest.raises(ConfigError, match=r"--layout.*folders"):
        initialise("photos", layout="folder")


def test_a_folder_without_photos_is_refused(photos):
    (photos / "a.heic").touch()
    with pytest.raises(UsageError, match=r"no photos in .*/photos \(1 files must be converted first\)"):
        initialise("photos")


def test_the_user_can_choose_another_layout(animals):
    (animals / "labels.csv").write_text("image,labels\ndog/1.jpg,hound\n")
    done = initialise("photos")
    assert labels_read(done, animals) == {"dog/1.jpg": {"hound"}}
    assert any("also has the labels of --layout: 1 (folders)" in doubt for doubt in doubts_of(done))
    assert init_labels(animals, force=True, layout="folders") == TWO


def test_copies_empty_files_and_other_formats_are_doubts(animals):
    shutil.copy(animals / "dog" / "1.jpg", animals / "cat" / "copy.jpg")
    (animals / "cat" / "empty.jpg").touch()
    (animals / "cat" / "3.heic").touch()
    done = initialise("photos")
    assert labels_read(done, animals) == {**TWO, "cat/copy.jpg": {"cat"}}
    assert doubts_of(done) == [
        "empty files (0 bytes), which are left out: 1 (cat/empty.jpg)",
        "photos, videos and archives that clipes cannot read (convert or unpack them): 1 (cat/3.heic)",
        "copies of a photo with different labels: 1 (cat/copy.jpg = dog/1.jpg)",
    ]


def test_the_vocabulary_has_background_words_and_the_words_of_the_method(animals):
    write_photos(animals, ["person/3.jpg", "wild_boar/4.jpg"])
    vocabulary = load_vocabulary(str(initialise("photos").files[1]))
    assert "meadow" in vocabulary.background_words
    words = {each.name: each.sentence_words for each in vocabulary.classes}
    assert words["person"] == "person with clothes,people,human"
    assert words["wild_boar"] == "wild boar"


def test_classes_of_voc_have_the_background_words_of_the_paper(animals):
    done = initialise("photos")
    assert load_vocabulary(str(done.files[1])).background_words == load_vocabulary("voc12").background_words


@pytest.mark.parametrize("name", ["yes", "5", "a: b", "#1 thing", "it's", "{x}", "- x", "Ж"])
def test_odd_names_of_classes_survive_in_yaml(photos, name):
    (photos / "labels.csv").write_text(f'image\tlabels\na.jpg\tdog|"{name}"\nb.jpg\tdog\n', encoding="utf-8")
    write_photos(photos, ["a.jpg", "b.jpg"])
    assert init_labels(photos) == {"a.jpg": {"dog", name}, "b.jpg": {"dog"}}


def test_a_small_set_without_a_gpu_gets_the_recipe_for_small_sets(animals):
    config = load_config(str(initialise("photos").files[0]))
    assert config.train.mmseg_config == "small_cpu"
    recipe = read_recipe(config, num_classes=3, precision="fp32")
    assert (recipe.init, recipe.iterations) == ("none", 400)


@pytest.mark.parametrize(
    ("text", "name"), [("meadow", "meadow"), ("My photos (2024)", "My-photos-2024"), ("Ж", "photos"), ("_x.y", "x-y")]
)
def test_the_name_of_a_folder_becomes_that_of_the_run(text, name):
    assert run_name(text) == name


def test_broken_links_are_doubts(animals):
    (animals / "cat" / "link.jpg").symlink_to(animals / "gone.jpg")
    done = initialise("photos")
    assert labels_read(done, animals) == TWO
    assert doubts_of(done) == [
        "broken links and photos without permission to read them, which are left out: 1 (cat/link.jpg)"
    ]


@pytest.mark.parametrize("path", ["{}", "photos/{}", "elsewhere/{}"])
def test_the_labels_may_lie_in_another_folder(animals, path):
    text = "image,labels\n" + "".join(f"{path.format(photo)},hound\n" for photo in TWO)
    (animals.parent / "labels.csv").write_text(text)
    assert init_labels(animals, labels="labels.csv") == {photo: {"hound"} for photo in TWO}


def test_labels_beside_a_folder_without_labels_are_used_and_doubted(photos):
    write_photos(photos, ["a.jpg", "b.jpg"])
    (photos.parent / "labels.csv").write_text("image;labels\na.jpg;dog\nb.jpg;cat\nc.jpg;cow\n")
    (photos.parent / "days.csv").write_text("day,degrees\n1,20\n")
    for _ in range(2):  # the second time, the list of the first time lies there, too
        done = initialise("photos", force=True)
        assert labels_read(done, photos) == {"a.jpg": {"dog"}, "b.jpg": {"cat"}}
        text = "the folder has no labels, so the labels are those of a file beside it: 1 (labels.csv)"
        assert text in doubts_of(done)


@pytest.mark.parametrize(("labels", "message"), [("gone.csv", "no file gone.csv"), ("notes.txt", "names photos in")])
def test_labels_that_name_no_photos_are_a_usage_error(animals, labels, message):
    (animals.parent / "notes.txt").write_text("a nice day\n")
    with pytest.raises(UsageError, match=f"--labels: .*{message}"):
        initialise("photos", labels=labels)


def test_photos_that_a_list_cannot_name_are_left_out(animals):
    write_photos(animals, ["dog/1.png"])
    done = initialise("photos")
    assert labels_read(done, animals) == TWO
    assert doubts_of(done) == [
        "photos that are left out, because an earlier photo has the same id (path without extension); only the earlier "
        "photo is used: 1 (dog/1.png)"
    ]


def test_photos_whose_names_are_not_utf_8_are_left_out_with_a_doubt(animals):
    copy = animals / "cat" / os.fsdecode(b"k\xe4tzchen.jpg")
    write_photos(animals, ["cat/3.png"])
    (animals / "cat" / "3.png").rename(copy)
    done = initialise("photos")
    assert labels_read(done, animals) == TWO
    assert doubts_of(done) == [f"{NOT_UTF_8}: 1 (cat/{copy.name})"]


def test_a_folder_in_which_no_name_is_utf_8_is_refused_with_the_reason(photos):
    (photos / os.fsdecode(b"\xff.jpg")).touch()
    with pytest.raises(UsageError, match=r"no photos in .* \(files whose paths are not UTF-8.*\(rename them\): 1\)"):
        initialise("photos")


@pytest.mark.parametrize(
    "name", ["1e5", "yes", "null", "0x10", "a: b", "# x", "my  'photos'", "[x]", "Ж", "2024-05-01"]
)
def test_a_folder_of_any_name_is_read_again_as_text(photos, name):
    write_photos(photos, TWO)
    folder = photos.rename(photos.with_name(name))
    done = initialise(name)
    assert labels_read(done, folder) == TWO
    assert load_config(str(done.files[0])).name == run_name(name)


@pytest.mark.parametrize("name", ["my  pets.yaml", "it's; $HOME.yaml", "a\u2028b: #.yaml"])
def test_the_comments_survive_odd_names_and_show_commands_that_can_be_pasted(animals, name):
    text = initialise("photos", to=name).files[0].read_text(encoding="utf-8")
    assert yaml.safe_load(text)["dataset"]["root"] == "photos"
    command = next(line for line in text.split("\n") if "clipes check" in line).partition("#")[2]
    shown = shlex.split(command.partition("find problems")[0])
    assert shown == ["clipes", "check", name.replace("\u2028", "\\u2028")]


@pytest.mark.parametrize("name", ["${HOME}", "???"])
def test_a_name_that_a_config_cannot_contain_is_refused(photos, name):
    write_photos(photos, TWO)
    photos.rename(photos.with_name(name))
    with pytest.raises(ConfigError, match="a config cannot contain the text"):
        initialise(name)
    assert [path.name for path in Path.cwd().iterdir()] == [name]


def test_a_name_with_a_line_break_is_refused(animals):
    with pytest.raises(ConfigError, match=r"--to: .* is neither a path nor a URI"):
        initialise("photos", to="a\nb.yaml")


def test_labels_with_semicolons_are_no_two_labels(animals):
    (animals / "cat").rename(animals / "cat;kitten")
    done = initialise("photos")
    assert labels_read(done, animals) == {"dog/1.jpg": {"dog"}, "cat;kitten/2.jpg": {"cat;kitten"}}
