"""Tables of labels in the dialects that spreadsheets and other programs write."""

import pytest
from support.own_photos import doubts_of, init_labels, labels_read, write_photos

from clipes.tasks.commands.init.writing import initialise

NAMES = ("a.jpg", "b.jpg", "sub/c.jpg", "d e.jpg")
LABELS = {"a.jpg": {"dog", "cat"}, "b.jpg": {"dog"}, "sub/c.jpg": {"cat"}, "d e.jpg": set()}


def init_table(photos, content, name="labels.csv", encoding="utf-8"):
    write_photos(photos, NAMES)
    (photos / name).write_bytes(content.encode(encoding))
    return initialise(str(photos))


DIALECTS = {
    "own": ("image,labels\na.jpg,dog;cat\nb.jpg,dog\nsub/c.jpg,cat\nd e.jpg,\n", "utf-8"),
    "libreoffice": (
        'Datei;Klassen\r\na.jpg;"dog, cat"\r\nb.jpg;dog\r\nsub/c.jpg;cat\r\n"d e.jpg";\r\n',
        "utf-8-sig",
    ),
    "excel": ("sep=;\r\nfile;label\r\na.jpg;dog|cat\r\nb.jpg;dog\r\nsub\\c.jpg;cat\r\nd e.jpg;\r\n", "cp1252"),
    "excel unicode": ("Filename\tTags\r\na.jpg\tdog,cat\r\nb.jpg\tdog\r\nsub/c.jpg\tcat\r\nd e.jpg\t\r\n", "utf-16"),
    "utf-16 without a mark": ("image;labels\na.jpg;dog,cat\nb.jpg;dog\nsub/c.jpg;cat\nd e.jpg;\n", "utf-16-le"),
    "no header": ("a.jpg,dog cat\nb.jpg,dog\nsub/c.jpg,cat\nd e.jpg,\n", "utf-8"),
    "quotes everywhere": (
        '"image","class"\n"a.jpg","dog|cat"\n"b.jpg","dog"\n"sub/c.jpg","cat"\n"d e.jpg",""\n',
        "utf-8",
    ),
    "row per label": ("filename,class\na.jpg,dog\na.jpg,cat\nb.jpg,dog\nsub/c.jpg,cat\nd e.jpg,none\n", "utf-8"),
    "columns of 0 and 1": ("image,dog,cat\na.jpg,1,1\nb.jpg,1,0\nsub/c.jpg,0,1\nd e.jpg,0,0\n", "utf-8"),
    "columns of words": ("image;dog;cat\na.jpg;x;x\nb.jpg;x;\nsub/c.jpg;;x\nd e.jpg;;\n", "utf-8"),
    "several label columns": ("image,label1,label2\na.jpg,dog,cat\nb.jpg,dog,\nsub/c.jpg,cat,\nd e.jpg,,\n", "utf-8"),
    "labels first": ("labels,width,image\ndog;cat,16,a.jpg\ndog,16,b.jpg\ncat,16,sub/c.jpg\n,16,d e.jpg\n", "utf-8"),
    "more cells than the header": ("image,labels\na.jpg,dog,cat\nb.jpg,dog\nsub/c.jpg,cat\nd e.jpg,\n", "utf-8"),
    "lists of Python": (
        "image,labels\na.jpg,\"['dog', 'cat']\"\nb.jpg,['dog']\nsub/c.jpg,['cat']\nd e.jpg,[]\n",
        "utf-8",
    ),
    "line breaks in cells": ('image,labels\na.jpg,"dog\ncat"\nb.jpg,dog\nsub/c.jpg,cat\nd e.jpg,\n', "utf-8"),
    "unknown column names": ("Photo,Was ist drauf\na.jpg,dog;cat\nb.jpg,dog\nsub/c.jpg,cat\nd e.jpg,\n", "utf-8"),
    "names without suffixes": ("id;tags\na;dog,cat\nb;dog\nc;cat\nd e;\n", "utf-8"),
    "paths of another computer": (
        "image,labels\nC:\\me\\a.jpg,dog;cat\nC:\\me\\B.JPG,dog\nC:\\me\\sub\\c.jpg,cat\nC:\\me\\d e.jpg,\n",
        "utf-8",
    ),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_run_reads_exactly_the_labels_of_a_table(photos, dialect):
    assert labels_read(init_table(photos, *DIALECTS[dialect][:1], encoding=DIALECTS[dialect][1]), photos) == LABELS


@pytest.mark.parametrize(
    "text", ["a.jpg\tdog;cat\nb.jpg\tdog\nsub/c.jpg\tcat\nd e.jpg\t\n", "a.jpg dog cat\nb.jpg dog\nsub/c.jpg cat\n"]
)
def test_a_run_reads_exactly_the_labels_of_a_text_file(photos, text):
    listed = {name for name in LABELS if name in text}
    assert labels_read(init_table(photos, text, "labels.txt"), photos) == {name: LABELS[name] for name in listed}


def test_a_table_that_clipes_reads_itself_needs_no_list(photos):
    done = init_table(photos, DIALECTS["own"][0])
    assert [file.name for file in done.files] == ["photos.yaml", "photos-classes.yaml"]
    assert "split: photos/labels.csv" in done.files[0].read_text()


def test_numbers_are_the_lines_of_a_list_of_classes(photos):
    (photos / "classes.txt").write_text("dog\ncat\n")
    done = init_table(photos, "image,labels\na.jpg,0;1\nb.jpg,0\nsub/c.jpg,1\nd e.jpg,\n")
    assert labels_read(done, photos) == LABELS


def test_umlauts_of_latin_1_are_kept_and_doubted(photos):
    done = init_table(photos, "image;labels\na.jpg;Kühe, dog\nb.jpg;dog\n", encoding="latin-1")
    assert labels_read(done, photos) == {"a.jpg": {"Kühe", "dog"}, "b.jpg": {"dog"}}
    assert any("not UTF-8" in doubt for doubt in doubts_of(done))
    assert "names that may not be English, which CLIP reads best (write `words`): 1 (Kühe)" in doubts_of(done)


def test_nothing_of_a_table_is_lost_silently(photos):
    table = (
        "image;labels;by\na.jpg;dog;me\na.jpg;dog;me\ngone.jpg;dog;me\nhttps://host/x.jpg;dog;me\nb.jpg;?;me\n;dog;me\n"
    )
    done = init_table(photos, table)
    assert labels_read(done, photos) == {"a.jpg": {"dog"}}
    assert doubts_of(done) == [
        "labels.csv has lines without a photo, which are left out: 1 (line 7)",
        "labels.csv has lines whose labels are unknown, whose photos are left out: 1 (line 6)",
        "labels.csv names files that do not exist, which are left out: 1 (gone.jpg in line 4)",
        "labels.csv names photos on servers, which are left out: 1 (https://host/x.jpg in line 5)",
        "labels.csv does not name these photos, which are left out: 2 (d e.jpg, sub/c.jpg)",
        "labels.csv names the same photo on several lines (one line per photo): 1 (a.jpg in lines 2, 3)",
        "labels.csv has columns that are not used: 1 (by)",
    ]


def test_contradicting_lines_are_left_out(photos):
    done = init_table(photos, "image,labels\na.jpg,dog;cat\na.jpg,dog\nb.jpg,dog\n")
    assert labels_read(done, photos) == {"b.jpg": {"dog"}}
    assert "labels.csv gives photos different labels on several lines, which are left out: 1 (a.jpg in lines 2, 3)" in (
        doubts_of(done)
    )


def test_an_unclosed_quote_swallows_no_line(photos):
    done = init_table(photos, 'image,labels\na.jpg,"dog\nb.jpg,dog\nsub/c.jpg,cat\n')
    assert labels_read(done, photos) == {"a.jpg": {"dog"}, "b.jpg": {"dog"}, "sub/c.jpg": {"cat"}}
    assert any("quote is not closed" in doubt for doubt in doubts_of(done))


def test_a_name_with_a_blank_stays_one_label(photos):
    done = init_table(photos, "image,labels\na.jpg,traffic light\nb.jpg,dog\n")
    assert labels_read(done, photos) == {"a.jpg": {"traffic light"}, "b.jpg": {"dog"}}
    assert "labels.csv: labels with blanks were taken as one label each: 1 (traffic light)" in doubts_of(done)


def test_a_photo_of_another_folder_gets_no_labels_of_a_missing_one(photos):
    write_photos(photos, ["x/1.jpg", "y/1.jpg"])
    (photos / "labels.csv").write_text("image,labels\nx/1.jpg,dog\nz/1.jpg,cat\ny/1.jpg,cow\n")
    assert init_labels(photos) == {"x/1.jpg": {"dog"}, "y/1.jpg": {"cow"}}


def test_true_masks_of_a_table_are_kept(photos):
    write_photos(photos, ["a.jpg", "masks/a.png"])
    (photos / "labels.csv").write_text("image;labels;truth\na.jpg;dog;masks/a.png\n")
    done = initialise(str(photos))
    assert done.files[2].read_text() == "image,labels,truth\na.jpg,dog,masks/a.png\n"
    assert "exif: ignore" in done.files[0].read_text()
    assert doubts_of(done) == []


def test_the_table_with_most_photos_is_used(photos):
    (photos / "few.csv").write_text("image,labels\na.jpg,dog\n")
    (photos / "other.csv").write_text("day,temperature\n1,20\n")
    (photos / "old.xlsx").write_bytes(b"PK")
    done = init_table(photos, DIALECTS["own"][0])
    assert labels_read(done, photos) == LABELS
    assert {
        "other lists of photos, which are not used (a run reads one list): 1 (few.csv)",
        "tables that name no photos with labels, which are not used: 1 (other.csv)",
        "workbooks, which are not used (to use one, save it as CSV): 1 (old.xlsx)",
    } <= set(doubts_of(done))
