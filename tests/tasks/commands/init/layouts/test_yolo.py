"""Label files of YOLO in the folders of Ultralytics, Roboflow and Darknet."""

import pytest
from support.own_photos import doubts_of, labels_read, write_photos

from clipes.tasks.commands.init.writing import initialise

BOX = "0.5 0.5 0.25 0.25"
POLYGON = "0.1 0.1 0.9 0.1 0.5 0.9"


def write_labels(folder, name, *lines):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize(
    ("photo", "labels"),
    [
        ("images/train/a.jpg", "labels/train"),
        ("train/images/a.jpg", "train/labels"),
        ("obj_train_data/a.jpg", "obj_train_data"),
        ("a.jpg", "labels"),
        ("a.jpg", ""),
        ("images/a.jpg", "labels"),
        ("x/a.jpg", "labels/x"),
    ],
)
def test_a_run_reads_exactly_the_classes_of_each_photo(photos, photo, labels):
    other, empty = photo.replace("a.jpg", "b.jpg"), photo.replace("a.jpg", "c.jpg")
    write_photos(photos, [photo, other, empty])
    write_labels(photos / labels, "a", f"1 {BOX}", f"0 {POLYGON}", f"1 {BOX} 0.9")
    write_labels(photos / labels, "b", f"0 {BOX}")
    write_labels(photos / labels, "c")
    (photos / "data.yaml").write_text("path: ..\nnames:\n  0: dog\n  1: traffic light\n")
    done = initialise(str(photos))
    assert done.inspection.found.layout == "yolo"
    assert labels_read(done, photos) == {photo: {"traffic light", "dog"}, other: {"dog"}, empty: set()}
    assert [each.name for each in done.inspection.classes] == ["dog", "traffic light"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("data.yaml", "nc: 2\nnames: [dog, cat]\n"), ("classes.txt", "dog\ncat\n"), ("obj.names", "dog\ncat\n")],
)
def test_the_names_come_from_each_of_the_usual_files(photos, name, content):
    write_photos(photos, ["a.jpg"])
    write_labels(photos, "a", f"1 {BOX}")
    (photos / name).write_text(content)
    assert labels_read(initialise(str(photos)), photos) == {"a.jpg": {"cat"}}


def test_classes_without_names_are_doubts(photos):
    write_photos(photos, ["a.jpg", "b.jpg"])
    write_labels(photos, "a", f"3 {BOX}")
    write_labels(photos, "b", f"10 {BOX}")
    done = initialise(str(photos))
    assert labels_read(done, photos) == {"a.jpg": {"class 3"}, "b.jpg": {"class 10"}}
    assert [each.name for each in done.inspection.classes] == ["class 3", "class 10"]
    assert doubts_of(done)[0].startswith("no data.yaml or classes.txt names the classes")


def test_broken_label_files_cost_only_their_photos(photos):
    names = "abcdef"
    write_photos(photos / "images", [f"{name}.jpg" for name in names])
    write_labels(photos / "labels", "a", f"0 {BOX}")
    write_labels(photos / "labels", "b", f"0 {BOX}", "cat in the corner")
    write_labels(photos / "labels", "c", f"7 {BOX}")
    write_labels(photos / "labels", "d", "0 120 80 40 40")
    (photos / "labels" / "e.txt").write_bytes(b"\xff\xfe0")
    write_labels(photos / "labels", "gone", f"0 {BOX}")
    (photos / "classes.txt").write_text("dog\n")
    done = initialise(str(photos))
    assert labels_read(done, photos) == {"images/a.jpg": {"dog"}, "images/d.jpg": {"dog"}}
    found = "\n".join(doubts_of(done))
    for expected in (
        "lines that cannot be read, whose photos are left out: 2 (labels/b.txt, line 2: expected a class number",
        "classes that have no name, whose photos are left out: 1 (labels/c.txt: 7)",
        "coordinates outside 0 to 1 (only the classes are used): 1 (labels/d.txt)",
        "photos without a label file, which are left out (an empty label file means no objects): 1 (images/f.jpg)",
        "label files without a photo, which are not used: 1 (labels/gone.txt)",
    ):
        assert expected in found


def test_captions_are_no_labels(photos):
    write_photos(photos, ["a.jpg"])
    (photos / "a.txt").write_text("a dog on a meadow\n")
    assert initialise(str(photos)).inspection.found.layout == "plain"
