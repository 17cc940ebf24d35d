"""One folder of photos per class."""

import pytest
from support.own_photos import doubts_of, init_labels, labels_read, write_photos

from clipes.tasks.commands.init.writing import initialise


@pytest.mark.parametrize("top", ["", "train/", "photos/images/", "Garden 2024/"])
def test_the_folder_of_a_photo_is_its_class(photos, top):
    paths = {f"{top}sun_flower/1.jpg": {"sun_flower"}, f"{top}rose/1.png": {"rose"}, f"{top}rose/red/2.jpg": {"rose"}}
    write_photos(photos, paths)
    assert init_labels(photos) == paths


def test_the_classes_of_all_splits_are_used(photos):
    paths = {f"{split}/{name}/1.jpg": {name} for split in ("train", "val") for name in ("rose", "tulip")}
    write_photos(photos, paths)
    assert init_labels(photos) == paths


def test_photos_of_a_folder_for_no_object_have_no_label(photos):
    write_photos(photos, ["rose/1.jpg", "tulip/1.jpg", "background/1.jpg", "extra.jpg"])
    done = initialise(str(photos))
    assert labels_read(done, photos) == {"rose/1.jpg": {"rose"}, "tulip/1.jpg": {"tulip"}, "background/1.jpg": set()}
    assert "photos outside the folders of the classes, which are left out: 1 (extra.jpg)" in doubts_of(done)


@pytest.mark.parametrize("folders", [("2023", "2024-05-01"), ("100CANON", "101CANON"), ("only", "only")])
def test_folders_of_dates_and_cameras_and_a_single_folder_are_no_classes(photos, folders):
    write_photos(photos, [f"{folder}/{number}.jpg" for number, folder in enumerate(folders)])
    assert initialise(str(photos)).inspection.found.layout == "plain"
