from io import BytesIO
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from support.archives import tar

from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import DatasetError, ErrorKind


def write_list(folder, name, content, photos=()):
    folder.write({name: content, **dict.fromkeys(photos, "photo")})


def read(folder, vocabulary, name="list.csv", **settings):
    return read_dataset(DatasetConfig(format="list", split=f"{folder.uri}/{name}", **settings), vocabulary)


def labels_of(listing):
    return {photo.image_id: photo.class_ids for photo in listing.photos}


def reasons(listing):
    return [(reject.image_id, reject.kind, reject.reason) for reject in listing.rejects]


def parquet(**columns) -> bytes:
    buffer = BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()


def test_csv_labels_are_names_aliases_or_ids(folder, animals):
    rows = "labels,ignored,image\ndog;cat,x,a.jpg\n 2 ; dog;2,x, sub/b.v1.png \n\n"
    rows += '"traffic light;couch;",x,"c, d.jpg"\n,x,e\n'
    write_list(folder, "list.csv", rows, ["a.jpg", "sub/b.v1.png", "c, d.jpg", "e"])

    listing = read(folder, animals)

    assert labels_of(listing) == {"a": (1, 2), "sub/b.v1": (2, 1), "c, d": (4, 3), "e": ()}
    assert listing.photos[1].uri == f"{folder.uri}/sub/b.v1.png"
    assert listing.rejects == ()


def test_text_rows_are_split_at_a_tab_or_otherwise_at_white_space(folder, animals):
    rows = "a b.jpg\tdog;traffic light\r\nc.jpg cat 1\r\n\r\nd.jpg\r\ne f.jpg\t\r\n"
    write_list(folder, "list.txt", rows, ["a b.jpg", "c.jpg", "d.jpg", "e f.jpg"])

    assert labels_of(read(folder, animals, "list.txt")) == {"a b": (1, 4), "c": (2, 1), "d": (), "e f": ()}


@pytest.mark.parametrize(
    "column",
    [
        pyarrow.array([["cat", "dog"], [], None]),
        pyarrow.array(["cat;dog", "", None]),
        pyarrow.array(["cat;dog", "", None]).dictionary_encode(),
        pyarrow.array([[2, 1], [], None]),
    ],
)
def test_parquet_labels_are_lists_or_text(folder, animals, column):
    content = parquet(image=["a.jpg", "b.jpg", "c.jpg"], labels=column, more=[1, 2, 3])
    write_list(folder, "list.parquet", content, ["a.jpg", "b.jpg", "c.jpg"])

    assert labels_of(read(folder, animals, "list.parquet")) == {"a": (2, 1), "b": (), "c": ()}


def test_parquet_may_contain_a_single_id_and_the_truth_per_photo(folder, animals):
    content = parquet(image=["a.jpg", "b.jpg"], labels=[3, None], truth=["m.png", None])
    write_list(folder, "list.parquet", content, ["a.jpg", "b.jpg", "m.png"])

    first, second = read(folder, animals, "list.parquet").photos

    assert (first.class_ids, first.truth_uri) == ((3,), f"{folder.uri}/m.png")
    assert (second.class_ids, second.truth_uri) == ((), None)


def test_paths_are_relative_to_root_if_it_is_set(folder, animals):
    write_list(folder, "lists/list.csv", "image,labels\na.jpg,dog\n", ["photos/a.jpg", "lists/a.jpg"])

    by_default = read(folder, animals, "lists/list.csv")
    given = read(folder, animals, "lists/list.csv", root=f"{folder.uri}/photos/")

    assert by_default.photos[0].uri == f"{folder.uri}/lists/a.jpg"
    assert given.photos[0].uri == f"{folder.uri}/photos/a.jpg"
    assert given.photos[0].image_id == "a"


def test_ids_are_normalised_and_relative_to_root(folder, local, animals):
    local.write({"far/x.jpg": "photo"})
    rows = f"image,labels\n./a.jpg,\nsub//../b.jpg,\n{folder.uri}/sub/c.jpg,\n{local.uri}/far/x.jpg,\n"
    write_list(folder, "list.csv", rows, ["a.jpg", "b.jpg", "sub/c.jpg"])

    outside = "far/x" if folder.uri == local.uri else f"{local.uri}/far/x".lstrip("/")
    assert list(labels_of(read(folder, animals, reach=(local.uri,)))) == ["a", "b", "sub/c", outside]


def test_the_id_of_a_uri_outside_the_root_is_its_whole_path(folder, local, animals):
    uri = f"{folder.uri}/a.jpg"
    folder.write({"a.jpg": "photo"})
    local.write({"list.txt": f"{uri} dog"})

    photos = read(local, animals, "list.txt", root=f"{local.uri}/elsewhere", reach=(folder.uri,)).photos

    assert [(photo.image_id, photo.uri) for photo in photos] == [
        (uri.removeprefix("memory://").removesuffix(".jpg").lstrip("/"), uri)
    ]


def test_ids_of_photos_in_archives_come_from_their_keys(folder, animals):
    rows = "image,labels,truth\n0.tar/a.jpg,dog,\nsub/1.TAR/x/b.jpg,cat,2.tar/b.png\n0.tar/c.jpg,cat,\n"
    archives = {
        "0.tar": tar({"a.jpg": b"a"}),
        "sub/1.TAR": tar({"x/b.jpg": b"b"}),
        "2.tar": tar({"b.png": b"mask"}),
        "truth/a.png": "mask",
    }
    folder.write({"list.csv": rows, **archives})

    listing = read(folder, animals, truth=f"{folder.uri}/truth")

    assert [(photo.image_id, photo.uri, photo.truth_uri) for photo in listing.photos] == [
        ("a", f"{folder.uri}/0.tar/a.jpg", f"{folder.uri}/truth/a.png"),
        ("sub/x/b", f"{folder.uri}/sub/1.TAR/x/b.jpg", f"{folder.uri}/2.tar/b.png"),
    ]
    assert listing.photos[1].truth_fingerprint.startswith("tar:")
    assert reasons(listing) == [
        (
            "c",
            ErrorKind.MISSING,
            f"no file at {folder.uri}/0.tar/c.jpg; correct the name, or add the file",
        )
    ]


def test_a_damaged_archive_rejects_only_its_photos(folder, animals):
    rows = "image,labels\n0.tar/a.jpg,dog\n1.tar/b.jpg,cat\n"
    folder.write({"list.csv": rows, "0.tar": b"no archive", "1.tar": tar({"b.jpg": b"b"})})
    listing = read(folder, animals)
    assert labels_of(listing) == {"b": (2,)}
    assert [(image_id, kind) for image_id, kind, _ in reasons(listing)] == [("a", ErrorKind.UNREADABLE)]


def test_truth_is_taken_from_the_column_or_otherwise_from_the_folder(folder, animals):
    rows = "image,labels,truth\na.jpg,,masks/own.png\nsub/b.jpg,,\nc.jpg,,gone.png\nd.jpg,,\n"
    masks = ["masks/own.png", "truth/a.png", "truth/sub/b.png", "truth/c.png"]
    write_list(folder, "list.csv", rows, ["a.jpg", "sub/b.jpg", "c.jpg", "d.jpg", *masks])

    photos = read(folder, animals, truth=f"{folder.uri}/truth").photos

    found = [photo.truth_uri and photo.truth_uri.removeprefix(f"{folder.uri}/") for photo in photos]
    assert found == ["masks/own.png", "truth/sub/b.png", "truth/c.png", None]


def test_every_row_is_either_a_photo_or_a_reject_with_a_reason(folder, animals):
    images = [
        "a.jpg,dog",
        "gone.jpg,dog",
        "b.jpg,Dog;cat",
        "c.jpg,5",
        "d.jpg,dog,cat",
        "a.png,cat",
        "../e.jpg,dog",
    ]
    rows = "\n".join(["image,labels", *images, ",dog", "sub/../../f.jpg,", ",", "g.jpg,giraffe"])
    write_list(folder, "list.csv", rows, ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "a.png", "g.jpg"])

    listing = read(folder, animals)

    assert labels_of(listing) == {"a": (1,)}
    outside = "is not a path below the data set's root"
    assert reasons(listing) == [
        (
            "gone",
            ErrorKind.MISSING,
            f"no file at {folder.uri}/gone.jpg; correct the name, or add the file",
        ),
        ("b", ErrorKind.UNKNOWN_CLASS, "unknown class 'Dog'; did you mean 'dog'?"),
        ("c", ErrorKind.UNKNOWN_CLASS, "unknown class '5'; ids range from 1 to 4"),
        ("line 6", ErrorKind.UNREADABLE_LABELS, "line 6 has 3 cells, but the header has 2: separate labels by ;"),
        (
            "a",
            ErrorKind.DUPLICATE,
            "an earlier photo has the same id (path without extension); only the earlier photo is used",
        ),
        ("../e.jpg", ErrorKind.MISSING, f"'../e.jpg' {outside}"),
        ("line 9", ErrorKind.MISSING, "the path is empty; write the path of the photo"),
        ("sub/../../f.jpg", ErrorKind.MISSING, f"'sub/../../f.jpg' {outside}"),
        ("line 11", ErrorKind.MISSING, "the path is empty; write the path of the photo"),
        ("g", ErrorKind.UNKNOWN_CLASS, "unknown class 'giraffe'"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "list.csv",
            "file,labels\na.jpg,dog",
            "no column image; found: file, labels; a list file needs the columns image and labels",
        ),
        ("list.csv", "a.jpg dog", "no column image and no column labels; found: a.jpg dog"),
        ("list.csv", "", "no column image and no column labels; found: none"),
        (
            "list.csv",
            'image,labels\n"a.jpg,dog\nb.jpg,cat',
            "line 3: unexpected end of data; save the file as plain CSV",
        ),
        (
            "list.csv",
            "image,labels,labels,truth,truth\na,b,c,d,e",
            "list.csv: more than one column labels and more than one column truth; keep only one of them",
        ),
        ("list.csv", "image,labels\n", "dataset.split: no photos in .*list.csv; choose a split with photos"),
        ("list.parquet", parquet(image=["a.jpg"]), "no column labels; found: image"),
        ("list.parquet", parquet(image=[{"bytes": b""}], labels=[1]), "not a readable Parquet file .*cast"),
        ("list.parquet", b"PAR1 and no more", "not a readable Parquet file"),
        ("list.txt", b"\xff\xfea", "not UTF-8 text"),
    ],
)
def test_the_error_for_an_unusable_list_gives_the_reason(folder, animals, name, content, message):
    write_list(folder, name, content)
    with pytest.raises(DatasetError, match=message):
        read(folder, animals, name)


def test_a_broken_cell_of_a_parquet_list_rejects_only_its_row(folder, animals):
    images = pyarrow.array([b"\xff.jpg", b"a.jpg", None, b"b.jpg"]).view(pyarrow.string())
    labels = pyarrow.array([[b"dog"], [b"dog"], [b"dog"], [b"cat", b"\xff"]])
    labels = labels.cast(pyarrow.list_(pyarrow.binary())).view(pyarrow.list_(pyarrow.string()))
    write_list(folder, "list.parquet", parquet(image=images, labels=labels), ["a.jpg", "b.jpg"])

    listing = read(folder, animals, "list.parquet")

    assert labels_of(listing) == {"a": (1,)}
    assert [where for where, _, _ in reasons(listing)] == ["row 1", "row 3", "row 4"]
    assert reasons(listing)[0][2].startswith(f"row 1 of {folder.uri}/list.parquet cannot be read (UnicodeDecodeError: ")


def test_a_column_that_a_parquet_list_has_twice_is_refused(folder, animals):
    names = ["image", "labels", "labels"]
    table = pyarrow.table([["a.jpg"], ["dog"], ["cat"]], names=names)
    buffer = BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    write_list(folder, "list.parquet", buffer.getvalue())
    with pytest.raises(DatasetError, match="more than one column labels; keep only one of them"):
        read(folder, animals, "list.parquet")


def test_paths_of_a_parquet_list_may_be_bytes_or_numbers(folder, animals):
    content = parquet(image=[b"a.jpg"], labels=["dog"], truth=[7])
    write_list(folder, "list.parquet", content, ["a.jpg", "7"])
    assert [photo.truth_uri for photo in read(folder, animals, "list.parquet").photos] == [f"{folder.uri}/7"]


def test_the_error_for_a_missing_list_names_it(folder, animals):
    with pytest.raises(
        DatasetError, match=r"dataset.split: no list file at .*/none.csv; give the path or URI of a .csv, .parquet"
    ):
        read(folder, animals, "none.csv")


def test_a_relative_list_is_found_in_the_working_directory(scene_photos, tmp_path, monkeypatch, animals):
    photos = sorted((scene_photos / "JPEGImages").iterdir())[:3]
    (tmp_path / "list.txt").write_text("".join(f"{photo}\tdog\n" for photo in photos))
    monkeypatch.chdir(tmp_path)

    config = DatasetConfig(
        format="list", split="list.txt", root=str(scene_photos), truth=str(scene_photos / "SegmentationClass")
    )
    listing = read_dataset(config, animals)

    assert [photo.image_id for photo in listing.photos] == [f"JPEGImages/{photo.stem}" for photo in photos]
    assert [photo.size_bytes for photo in listing.photos] == [photo.stat().st_size for photo in photos]


def test_reasons_for_unknown_ids_suggest_the_likely_cause(local, animals):
    write_list(local, "list.txt", f"a 0\nb -1\nc 1.0\nd {'9' * 5000}\nmy photo.jpg dog\ne 1", ["e"])

    found = [reason for _, _, reason in reasons(read(local, animals, "list.txt"))]

    range_of_ids = "ids range from 1 to 4"
    off_by_one = ". Does the file count ids from 0? Then all its labels are off by one"
    assert found == [
        f"unknown class '0'; {range_of_ids}{off_by_one}",
        f"unknown class '-1'; {range_of_ids}",
        "unknown class '1.0'",
        f"unknown class '{'9' * 5000}'; {range_of_ids}",
        "unknown class 'photo.jpg'; a path with spaces needs a TAB before its labels",
    ]


def test_photos_with_invalid_paths_are_rejects_without_affecting_others(local, animals):
    folder = local.uri.removeprefix("file://")
    Path(folder, "circle").symlink_to("circle")
    Path(folder, "circle.jpg").symlink_to("circle.jpg")
    places = ["circle.jpg", "circle/a.jpg", f"{'d' * 300}/a.jpg", f"{'d' * 300}.jpg", "b\0/c.jpg", "gopher://x/a.jpg"]
    write_list(local, "list.txt", "".join(f"{place}\tdog\n" for place in [*places, "a.jpg"]), ["a.jpg"])

    listing = read(local, animals, "list.txt")

    assert [photo.image_id for photo in listing.photos] == ["a"]
    assert [reject.kind for reject in listing.rejects] == [ErrorKind.MISSING] * len(places)
    assert listing.rejects[-1].reason.startswith("gopher://x/a.jpg: Protocol not known: gopher; use a path or a URI")


def test_backslashes_separate_folders_if_no_file_has_this_name(local, animals):
    rows = "image,labels\nsub\\a.jpg,dog\nsub\\b.jpg,dog\n..\\..\\c.jpg,dog\n"
    write_list(local, "list.csv", rows, ["sub/a.jpg", "sub\\b.jpg"])

    listing = read(local, animals)

    assert [photo.image_id for photo in listing.photos] == ["sub/a", "sub\\b"]
    assert [reject.kind for reject in listing.rejects] == [ErrorKind.MISSING]


def test_labels_on_one_line_each_are_put_together(folder, animals):
    rows = "image,labels\na.jpg,dog\na.jpg,cat\nb.jpg,dog\nc.jpg,cat\n"
    write_list(folder, "list.csv", rows, ["a.jpg", "b.jpg", "c.jpg"])

    listing = read(folder, animals)

    assert labels_of(listing) == {"a": (1, 2), "b": (1,), "c": (2,)}
    assert (listing.merged, listing.notes) == (
        1,
        (
            "1 lines name a photo of an earlier line with another label: each photo has the labels of all its lines "
            "(the first is a)",
        ),
    )


def test_corrected_labels_are_noted(folder, animals, caplog):
    write_list(folder, "list.csv", 'image,labels\na.jpg,"dog, traffic_light"\nb.jpg,1|2\n', ["a.jpg", "b.jpg"])

    listing = read(folder, animals)

    assert labels_of(listing) == {"a": (1, 4), "b": (1, 2)}
    joined, blanks = listing.notes
    assert joined == "the labels are joined by a comma or a pipe, and clipes separated them: 2 (the first is a)"
    assert blanks.endswith("a blank in place of an underscore: 1 (the first is a)")
    assert joined in caplog.text


def test_a_missing_truth_named_by_the_list_is_kept(folder, animals):
    write_list(folder, "list.csv", "image,labels,truth\na.jpg,dog,gone.png\n", ["a.jpg"])
    photo = read(folder, animals).photos[0]
    assert (photo.truth_uri, photo.truth_fingerprint) == (f"{folder.uri}/gone.png", None)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_columns_with_another_separator_are_refused_with_advice(folder, animals, separator):
    write_list(folder, "list.csv", f"image{separator}labels\na.jpg{separator}dog\n")
    with pytest.raises(DatasetError, match=r"the column truth; separate them by commas$"):
        read(folder, animals)
