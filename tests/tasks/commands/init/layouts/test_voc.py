"""Annotation files of PASCAL VOC in VOC's folders and beside the photos."""

from support.own_photos import doubts_of, init_labels, labels_read, write_photos
from support.voc_scenes import write_split, write_voc_scenes

from clipes.tasks.commands.init.writing import initialise


def write_xml(folder, name, *labels):
    folder.mkdir(parents=True, exist_ok=True)
    objects = "".join(f"<object><name>{label}</name></object>" for label in labels)
    (folder / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>")


def test_voc_s_own_folders_are_read_as_they_are(photos):
    ids = tuple(f"scene_{number}" for number in range(6))
    write_voc_scenes(photos, ids)
    write_split(photos, "train", ids[:4])
    write_split(photos, "val", ids[4:])
    done = initialise(str(photos))
    assert set(labels_read(done, photos)) == {f"JPEGImages/{image_id}.jpg" for image_id in ids[:4]}
    text = done.files[0].read_text()
    assert "format: voc" in text
    assert "split: train  " in text
    assert "split: val  " in text
    assert "exif: ignore" in text
    assert [each.name for each in done.inspection.classes][:3] == ["aeroplane", "bicycle", "bird"]  # the ids of masks
    assert len(done.inspection.classes) == 20
    assert "photos outside the split train, which are not used: 2 " in " ".join(doubts_of(done))


def test_annotations_beside_photos_or_in_other_folders_are_read(photos):
    write_photos(photos, ["one/a.jpg", "two/images/b.png", "c.JPG", "d.jpg"])
    write_xml(photos / "one", "a", "tractor", "hay bale", "tractor")
    write_xml(photos / "two" / "xml", "b", "hay bale")
    write_xml(photos, "c")
    assert init_labels(photos) == {
        "one/a.jpg": {"tractor", "hay bale"},
        "two/images/b.png": {"hay bale"},
        "c.JPG": set(),
    }


def test_broken_and_unmatched_annotations_are_doubts(photos):
    write_photos(photos, ["a.jpg", "b.jpg", "c.jpg"])
    write_xml(photos, "a", "dog")
    write_xml(photos, "gone", "dog")
    (photos / "b.xml").write_text("<annotation><object></object></annotation>")
    done = initialise(str(photos))
    assert labels_read(done, photos) == {"a.jpg": {"dog"}}
    assert doubts_of(done) == [
        "annotation files that cannot be read, whose photos are left out: 1 (b.xml: object 1 has no name)",
        "annotation files to which no photo belongs, which are not used: 1 (gone.xml)",
        "photos without an annotation file, which are left out: 1 (c.jpg)",
    ]


def test_a_split_that_names_missing_photos_becomes_a_list(photos):
    write_photos(photos / "JPEGImages", ["a.jpg", "b.jpg"])
    write_xml(photos / "Annotations", "a", "dog")
    write_xml(photos / "Annotations", "b", "cat")
    (photos / "ImageSets" / "Main").mkdir(parents=True)
    (photos / "ImageSets" / "Main" / "trainval.txt").write_text("a\nb\ngone\n")
    (photos / "ImageSets" / "Main" / "dog_trainval.txt").write_text("a 1\nb -1\n")
    done = initialise(str(photos))
    assert labels_read(done, photos) == {"JPEGImages/a.jpg": {"dog"}, "JPEGImages/b.jpg": {"cat"}}
    assert "format: list" in done.files[0].read_text()
    assert "photos of the split trainval without a file or an annotation, which are left out: 1 (gone)" in doubts_of(
        done
    )
