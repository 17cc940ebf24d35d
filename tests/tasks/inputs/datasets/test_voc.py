from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.permissions import unprivileged

from clipes.tasks.inputs.datasets.label_files.labels import BLANKS
from clipes.tasks.inputs.datasets.label_files.voc_xml import parse_annotation
from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes.tasks.inputs.datasets.voc import MAX_XML_BYTES
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import DatasetError, ErrorKind, PhotoError


def annotation(*names: str) -> str:
    objects = "".join(f"<object><name>{name}</name><difficult>1</difficult></object>" for name in names)
    return f"<annotation><size><width>1</width></size>{objects}</annotation>"


def write_voc(folder, split, **labels):
    """Write a data set of photos named by the keywords, with the given annotations."""
    files = {"ImageSets/Segmentation/train.txt": split}
    for image_id, xml in labels.items():
        files |= {f"JPEGImages/{image_id}.jpg": f"photo {image_id}", f"Annotations/{image_id}.xml": xml}
    folder.write(files)


def read(folder, vocabulary, **settings):
    config = DatasetConfig(**{"format": "voc", "root": folder.uri, "split": "train", **settings})
    return read_dataset(config, vocabulary)


def reasons(listing):
    return [(reject.image_id, reject.kind, reject.reason) for reject in listing.rejects]


@pytest.mark.parametrize(("split", "count"), [("train", 228), ("val", 23)])
def test_labels_of_real_photos_are_the_classes_of_their_masks(real_data, split, count):
    listing = read_dataset(DatasetConfig(format="voc", root=str(real_data), split=split), load_vocabulary("voc12"))

    assert len(listing.photos) == count
    assert listing.rejects == ()
    ids = (real_data / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()
    assert [photo.image_id for photo in listing.photos] == ids
    for photo in listing.photos:
        mask = np.array(Image.open(photo.truth_uri))
        assert set(photo.class_ids) == set(np.unique(mask).tolist()) - {0, 255}, photo.image_id


def test_a_data_set_on_s3_is_listed_like_a_local_one(local, s3_data, animals):
    for folder in (local, s3_data):
        write_voc(folder, "a\nb\nc\n", a=annotation("cat"), b=annotation("sofa", "dog"), c="<broken")
        folder.write({"SegmentationClass/a.png": "mask"})

    here, there = read(local, animals), read(s3_data, animals)

    for photo, twin in zip(here.photos, there.photos, strict=True):
        assert twin.uri == photo.uri.replace(local.uri, s3_data.uri)
        assert twin.fingerprint.startswith("etag:")
        assert (twin.image_id, twin.class_ids, twin.size_bytes) == (photo.image_id, photo.class_ids, photo.size_bytes)
    assert there.photos[0].truth_uri == f"{s3_data.uri}/SegmentationClass/a.png"
    assert reasons(there) == reasons(here)
    with pytest.raises(DatasetError, match=r"^s3://nobodys-bucket/.*: the bucket does not exist; create it or"):
        read(s3_data, animals, root="s3://nobodys-bucket/voc")


def test_a_photo_is_listed_without_being_opened(folder, animals):
    write_voc(folder, "a\nb\n", a=annotation("cat"), b=annotation())
    folder.write({"SegmentationClass/a.png": "mask"})

    first, second = read(folder, animals).photos

    assert (first.image_id, first.uri, first.size_bytes) == ("a", f"{folder.uri}/JPEGImages/a.jpg", 7)
    assert first.fingerprint.startswith("7-1")
    assert first.truth_uri == f"{folder.uri}/SegmentationClass/a.png"
    assert first.truth_fingerprint.startswith("4-1")
    assert (second.class_ids, second.truth_uri, second.truth_fingerprint) == ((), None, None)


def test_labels_are_in_order_of_first_appearance_and_ignore_parts(folder, animals):
    part = "<part><name>dog</name><object><name>sofa</name></object></part>"
    cat = f"<object>{part}<name> cat\n</name><truncated>1</truncated></object>"
    xml = f"<annotation>{cat}<object><name>dog</name></object><object><name>cat</name></object></annotation>"
    write_voc(folder, "a", a=xml)

    assert read(folder, animals).photos[0].class_ids == (2, 1)


def test_lines_of_a_split_may_have_any_published_form_and_line_end(folder, animals):
    published = "/JPEGImages/d.jpg /SegmentationClassAug/d.png"
    split = f"\ufeffa\r\n\r\nb  1\r\nc -1\r{published}\n{published.replace('d.', 'e.')}"
    write_voc(folder, split, **dict.fromkeys("abcde", annotation("dog")))
    folder.write({"SegmentationClassAug/d.png": "", "SegmentationClass/d.png": "", "SegmentationClass/e.png": ""})

    photos = read(folder, animals).photos

    assert [photo.image_id for photo in photos] == ["a", "b", "c", "d", "e"]
    truths = [photo.truth_uri and photo.truth_uri.removeprefix(folder.uri) for photo in photos]
    assert truths == [None, None, None, "/SegmentationClassAug/d.png", "/SegmentationClass/e.png"]


def test_a_split_may_be_any_list_file_or_one_in_image_sets_main(folder, animals):
    write_voc(folder, "a", a=annotation(), b=annotation(), c=annotation())
    folder.write({"ImageSets/Main/dog_val.txt": "b 1", "lists/mine.txt": "c"})

    assert read(folder, animals, split="dog_val").photos[0].image_id == "b"
    assert read(folder, animals, split=f"{folder.uri}/lists/mine.txt").photos[0].image_id == "c"


def test_evaluation_photos_have_the_labels_of_their_annotations_and_need_none(folder, animals):
    write_voc(folder, "a\nb", a=annotation("dog"), b=annotation("cat"))
    folder.write({"ImageSets/Segmentation/more.txt": "a\nb\nc", "JPEGImages/c.jpg": ""})
    config = DatasetConfig(format="voc", root=folder.uri, split="more")
    found = read_dataset(config, animals, labelled=False)
    assert found.rejects == ()
    assert [bool(photo.class_ids) for photo in found.photos] == [True, True, False]


def test_truth_may_be_in_another_folder(folder, animals):
    write_voc(folder, "a", a=annotation())
    folder.write({"SegmentationClass/a.png": "old", "better/a.png": "new"})
    truth = f"{folder.uri}/better"
    assert read(folder, animals, truth=truth).photos[0].truth_uri == f"{truth}/a.png"


def test_every_line_is_either_a_photo_or_a_reject_with_a_reason(folder, animals):
    split = "good\ngone\nunlabelled\nbroken\nhtml\nnameless\nDog\ngiraffe\nhuge\ngood"
    write_voc(
        folder,
        split,
        good=annotation("dog"),
        broken="<annotation><object>",
        html="<html/>",
        nameless="<annotation><object><name>dog</name></object><object/></annotation>",
        Dog=annotation("Dog"),
        giraffe=annotation("dog", "giraffe"),
        huge=" " * (MAX_XML_BYTES + 1),
    )
    folder.write({"JPEGImages/unlabelled.jpg": "", "Annotations/gone.xml": annotation("dog")})

    listing = read(folder, animals)

    assert [photo.image_id for photo in listing.photos] == ["good"]
    root, labels = folder.uri, ErrorKind.UNREADABLE_LABELS
    assert reasons(listing) == [
        (
            "gone",
            ErrorKind.MISSING,
            f"no file at {root}/JPEGImages/gone.jpg (or .jpeg, .png); correct the name, or add the file",
        ),
        ("unlabelled", labels, f"no annotation at {root}/Annotations/unlabelled.xml"),
        ("broken", labels, "broken XML: no element found: line 1, column 20"),
        ("html", labels, "the XML's root is <html>, expected <annotation>"),
        ("nameless", labels, "object 2 has no name"),
        ("Dog", ErrorKind.UNKNOWN_CLASS, "unknown class 'Dog'; did you mean 'dog'?"),
        ("giraffe", ErrorKind.UNKNOWN_CLASS, "unknown class 'giraffe'"),
        ("huge", labels, f"{root}/Annotations/huge.xml has 1048577 bytes, but an annotation may have at most 1048576"),
        (
            "good",
            ErrorKind.DUPLICATE,
            "an earlier photo has the same id (path without extension); only the earlier photo is used",
        ),
    ]
    assert {reject.stage for reject in listing.rejects} == {"manifest"}
    assert listing.rejects[0].uri == f"{root}/JPEGImages/gone.jpg"


def test_annotations_may_have_aliases(folder, animals):
    write_voc(folder, "a", a=annotation("couch", "traffic_light"))
    listing = read(folder, animals)
    assert [photo.class_ids for photo in listing.photos] == [(3, 4)]
    assert listing.notes == (f"{BLANKS}: 1 (the first is a)",)


@pytest.mark.parametrize("extension", [".png", ".jpeg", ".PNG", ".JPG"])
def test_photos_may_have_another_extension_than_vocs(local, animals, extension):
    write_voc(local, "a\nb", a=annotation("dog"), b=annotation("cat"))
    jpeg = Path(local.uri, "JPEGImages", "b.jpg")
    jpeg.rename(jpeg.with_suffix(extension))

    assert [photo.uri for photo in read(local, animals).photos] == [
        f"{local.uri}/JPEGImages/a.jpg",
        f"{local.uri}/JPEGImages/b{extension}",
    ]


def test_the_extension_that_a_line_names_comes_first(folder, animals):
    write_voc(folder, "a.png\n/JPEGImages/b.jpg", a=annotation("dog"), b=annotation("cat"))
    folder.write({"JPEGImages/a.png": "", "JPEGImages/b.png": ""})
    names = [photo.uri.removeprefix(f"{folder.uri}/JPEGImages/") for photo in read(folder, animals).photos]
    assert names == ["a.png", "b.jpg"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_entities_are_refused_before_they_expand(encoding):
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    bomb = f'<!DOCTYPE annotation [<!ENTITY l0 "ha">{entities}]><annotation>&l9;</annotation>'
    with pytest.raises(PhotoError, match=r"the XML has a DOCTYPE \(annotation\)") as error:
        parse_annotation(bomb.encode(encoding))
    assert error.value.kind == ErrorKind.UNREADABLE_LABELS


def test_external_xml_entities_are_not_read(tmp_path):
    (tmp_path / "secret").write_text("dog")
    document = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]><annotation><object><name>&x;</name></object></annotation>'
    with pytest.raises(PhotoError, match="DOCTYPE"):
        parse_annotation(document.encode())


@pytest.mark.parametrize(
    ("xml", "problem"),
    [
        ("<Object><name>dog</name></Object>", "<Object> outside <annotation><object>"),
        ("<objects><object><name>dog</name></object></objects>", "<object> outside <annotation><object>"),
        ("<object><name>dog</name></object><OBJECT><name>cat</name></OBJECT>", "<OBJECT> outside"),
        ("<item><name>dog</name><bndbox/></item>", "<bndbox> outside"),
        ("<object><Name>dog</Name></object>", "object 1 has no name"),
        (
            "<object><name>dog</name><name>cat</name></object>",
            "object 1 has 2 names; write an <object> for",
        ),
    ],
)
def test_an_object_in_an_unexpected_form_is_never_ignored(xml, problem):
    with pytest.raises(PhotoError, match=problem) as error:
        parse_annotation(f"<annotation>{xml}</annotation>".encode())
    assert error.value.kind == ErrorKind.UNREADABLE_LABELS


@pytest.mark.parametrize("encoding", ["gbk", "GB2312", "gb18030", "Big5", "Shift_JIS", "EUC-JP", "EUC-KR", "utf-16"])
def test_xml_may_have_any_declared_encoding(encoding):
    name = "개" if encoding == "EUC-KR" else "犬"
    xml = f'<?xml version="1.0" encoding="{encoding}"?><annotation><object><name>{name}</name></object></annotation>'
    assert parse_annotation(xml.encode(encoding)).names == (name,)


def test_the_error_for_another_encoding_asks_to_declare_it():
    xml = "<annotation><object><name>红灯</name></object></annotation>"
    with pytest.raises(
        PhotoError, match=r"broken XML: .*; if the file is not UTF-8, declare its encoding in its first"
    ):
        parse_annotation(xml.encode("gbk"))


@pytest.mark.parametrize("encoding", ["nope", "utf-7", "punycode"])
def test_encodings_that_expat_does_not_know_are_unreadable_labels(encoding):
    with pytest.raises(PhotoError, match="broken XML: "):
        parse_annotation(f'<?xml version="1.0" encoding="{encoding}"?><annotation/>'.encode())


def test_the_error_for_an_unknown_split_lists_the_known_ones(folder, animals):
    write_voc(folder, "a", a=annotation())
    folder.write({"ImageSets/Main/trainval.txt": "a", "ImageSets/Main/readme.md": ""})

    with pytest.raises(DatasetError) as error:
        read(folder, animals, split="train_aug")

    places = " or ".join(f"{folder.uri}/ImageSets/{name}/train_aug.txt" for name in ("Segmentation", "Main"))
    assert str(error.value) == f"dataset.split: no split file at {places}; splits in {folder.uri}: train, trainval"


def test_a_root_that_is_not_a_voc_folder_is_an_error(folder, animals):
    with pytest.raises(DatasetError, match=r"/none has no ImageSets; set dataset.root to the folder that holds JPEG"):
        read_dataset(DatasetConfig(format="voc", root=f"{folder.uri}/none", split="train"), animals)


def test_the_error_for_a_missing_list_names_it(folder, animals):
    write_voc(folder, "a", a=annotation())
    with pytest.raises(DatasetError, match=r"dataset.split: no split file at .*/none.txt; splits in .*: train$"):
        read(folder, animals, split=f"{folder.uri}/none.txt")


def test_an_empty_split_is_refused(folder, animals):
    write_voc(folder, "\n \n")
    with pytest.raises(DatasetError, match=r"dataset.split: no photos in train; choose a split with photos"):
        read(folder, animals)


def test_an_id_may_contain_spaces(folder, animals):
    labels = {name: annotation("dog") for name in ("my photo", "my", "x 2", "b")}
    write_voc(folder, "my photo\n x 2 \nb 1\n/\n", **labels)

    listing = read(folder, animals)

    assert [photo.image_id for photo in listing.photos] == ["my photo", "x 2", "b"]
    assert [reject.image_id for reject in listing.rejects] == ["/"]


@pytest.mark.parametrize(
    ("size", "stated"),
    [
        ("<width> 500</width><height>375\n</height><depth>3</depth>", (500, 375)),
        ("<width>500</width>", None),
        ("<width>0</width><height>0</height>", None),
        ("<width>-5</width><height>wide</height>", None),
    ],
)
def test_the_photo_size_is_read_from_the_annotation(size, stated):
    assert parse_annotation(f"<annotation><size>{size}</size></annotation>".encode()).stated_size == stated


def test_an_annotation_without_permission_is_a_reject(local, animals):
    write_voc(local, "a\nb", a=annotation("dog"), b=annotation("dog"))
    folder = Path(local.uri)
    (folder / "Annotations" / "b.xml").chmod(0)
    with unprivileged(folder):
        listing = read(local, animals)

    assert [photo.image_id for photo in listing.photos] == ["a"]
    assert [reject.kind for reject in listing.rejects] == [ErrorKind.UNREADABLE_LABELS]
    assert f"{folder}/Annotations/b.xml: no permission (Permission denied)" in listing.rejects[0].reason


def test_an_annotation_that_links_to_itself_is_a_reject(local, animals):
    write_voc(local, "a\nb", a=annotation("dog"))
    Path(local.uri, "Annotations", "b.xml").symlink_to("b.xml")

    listing = read(local, animals)

    assert [photo.image_id for photo in listing.photos] == ["a"]
    assert [reject.kind for reject in listing.rejects] == [ErrorKind.UNREADABLE_LABELS]
