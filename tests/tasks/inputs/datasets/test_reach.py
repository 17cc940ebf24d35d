"""Lists that name private files, other servers or passwords."""

import json
import threading
from dataclasses import astuple
from io import BytesIO
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from support.web_server import Handler, serve

from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes.tasks.inputs.datasets.reach import list_reach
from clipes.tasks.storage.files import write_file
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import DatasetError, ErrorKind, PhotoError

SECRET = "hunter2"
URIS = [
    f"https://me:{SECRET}@host/a.jpg",
    f"https://host/a.jpg?token={SECRET}",
    f"https://host/a.jpg#{SECRET}",
    f"ftp://u:1/{SECRET}@h/a.png",
    f"s3://bucket/a.jpg?X-Amz-Signature={SECRET}",
    f"simplecache::https://me:{SECRET}@host/a.jpg",
]


def read(folder, vocabulary, name, text, **settings):
    folder.write({name: text, "a.jpg": "photo", "b.png": "mask"})
    return read_dataset(DatasetConfig(split=f"{folder.uri}/{name}", **settings), vocabulary)


def parquet(**columns) -> bytes:
    buffer = BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()


def check_nothing_told(listing, place):
    """Check that the list has one usable photo, and a reject that names the place of the bad line and no secret."""
    assert [photo.image_id for photo in listing.photos] == ["a"]
    (reject,) = listing.rejects
    assert (reject.image_id, reject.kind) == (place, ErrorKind.NOT_PERMITTED)
    assert SECRET not in str(astuple(reject))


@pytest.mark.parametrize("uri", URIS)
def test_a_password_in_a_list_appears_in_no_reject(folder, animals, uri):
    read_list = {"format": "list"}
    for line in (f"{uri},dog,", f"b.png,{uri},", f"b.png,dog,{uri}"):
        check_nothing_told(
            read(folder, animals, "l.csv", f"image,labels,truth\na.jpg,dog,\n{line}\n", **read_list), "line 3"
        )
    for line in (f"{uri} dog", f"{uri}\tdog", f"b.png {uri}", uri.replace("/a", "/a b")):
        check_nothing_told(read(folder, animals, "l.txt", f"\na.jpg dog\n{line}", **read_list), "line 3")
    content = parquet(image=["a.jpg", uri], labels=["dog", "dog"])
    check_nothing_told(read(folder, animals, "l.parquet", content, **read_list), "row 2")


@pytest.mark.parametrize("uri", URIS)
def test_a_password_in_a_coco_or_voc_list_appears_in_no_reject(folder, animals, uri):
    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": uri}],
        "annotations": [{"image_id": 1, "category_id": 1}, {"image_id": uri, "category_id": 1}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    coco = {"format": "coco", "root": folder.uri}
    check_nothing_told(read(folder, animals, "l.json", json.dumps(document), **coco), "images[1]")
    check_nothing_told(read(folder, animals, "l.txt", f"a.jpg 0\n{uri} 0", **coco), "line 2")

    folder.write({"JPEGImages/a.jpg": "photo", "Annotations/a.xml": "<annotation/>"})
    for line in (uri, f"a {uri}", f"b.jpg {uri}.png"):
        check_nothing_told(read(folder, animals, "v.txt", f"a\n{line}", root=folder.uri), "line 2")


def test_a_password_in_the_first_line_of_a_csv_is_not_repeated(folder, animals):
    with pytest.raises(DatasetError, match=r"no column labels; found: https://\*\*\*, dog") as caught:
        read(folder, animals, "l.csv", f"{URIS[0]},dog\n", format="list")
    assert SECRET not in str(caught.value)


def test_a_password_that_is_relative_to_a_web_server_appears_in_no_reject(animals):
    class Files(Handler):
        def do_GET(self):  # noqa: N802 - the name that http.server calls
            self.send_response(200 if self.path in ("/l.csv", "/a.jpg") else 404)
            self.end_headers()
            self.wfile.write(f"image,labels\na.jpg?token={SECRET},dog\n".encode())

        do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    with serve(Files) as url:
        (reject,) = read_dataset(DatasetConfig(format="list", split=f"{url}/l.csv"), animals).rejects
    assert (reject.image_id, reject.kind) == ("line 2", ErrorKind.NOT_PERMITTED)
    assert SECRET not in str(astuple(reject))


def test_local_names_with_special_characters_are_photos(local, animals):
    names = ["what?token=1.jpg", "#1.jpg", "a@2x.jpg", "100%.jpg", "a::b.jpg", "c:d.jpg", "me:pw@h.jpg"]
    local.write(dict.fromkeys(names, "photo"))
    for place in ("", f"{local.uri}/", f"file://{local.uri}/"):
        listing = read(local, animals, "l.txt", "".join(f"{place}{name}\tdog\n" for name in names), format="list")
        assert [photo.uri for photo in listing.photos] == [f"{local.uri}/{name}" for name in names]


def test_s3_keys_with_special_characters_are_photos(s3_data, animals):
    names = ["what?.jpg", "#1.jpg", "a@2x.jpg", "100%.jpg", "a::b.jpg"]
    for name in names:
        write_file(f"{s3_data.uri}/{name}", b"photo")
    for place in ("", f"{s3_data.uri}/"):
        listing = read(s3_data, animals, "l.txt", "".join(f"{place}{name}\tdog\n" for name in names), format="list")
        assert [photo.uri for photo in listing.photos] == [f"{s3_data.uri}/{name}" for name in names]


def test_the_lines_of_a_list_contact_no_other_server(local, animals):
    contacted = threading.Event()

    class Contact(Handler):
        def do_GET(self):  # noqa: N802 - the name that http.server calls
            contacted.set()
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    with serve(Contact) as url:
        listing = read(local, animals, "l.csv", f"image,labels,truth\na.jpg,dog,\n{url}/b.jpg,dog,\n", format="list")
        (reject,) = listing.rejects
        assert (reject.image_id, reject.kind) == (f"{url}/b.jpg", ErrorKind.NOT_PERMITTED)
        assert reject.reason == (
            f"a line of this list may not name {url}/b.jpg; to permit it, add {url} to dataset.reach"
        )
        (reject,) = read(local, animals, "l.csv", f"image,labels,truth\na.jpg,dog,{url}/b.png\n", format="list").rejects
        assert reject.kind == ErrorKind.BAD_TRUTH
        assert not contacted.is_set()

        read(local, animals, "l.csv", f"image,labels\na.jpg,dog\n{url}/b.jpg,dog\n", format="list", reach=(url,))
        assert contacted.is_set()


@pytest.mark.parametrize("uri", ["zip://a.jpg", "reference://a.jpg", "github://a/b.jpg", "sftp://127.0.0.1:9/a.jpg"])
def test_other_protocols_do_not_cost_the_neighbours(local, animals, uri):
    for reach, kind in ((None, ErrorKind.NOT_PERMITTED), (("zip://", "reference://", "github://"), ErrorKind.MISSING)):
        if uri.startswith("sftp") and reach:
            continue  # paramiko, which opens sftp://, need not be installed
        listing = read(local, animals, "l.txt", f"{uri}\tdog\na.jpg\tdog\n", format="list", reach=reach)
        assert [photo.image_id for photo in listing.photos] == ["a"]
        (reject,) = listing.rejects
        assert reject.kind in (kind, ErrorKind.MISSING)


@pytest.mark.parametrize(
    ("list_uri", "root", "reach", "permitted", "refused"),
    [
        ("/l/a.csv", "/r", None, ["/etc/a", "/r/a"], ["s3://b/a", "http://h/a"]),
        ("/l/a.csv", "s3://b/r", None, ["/etc/a", "s3://b/x"], ["s3://c/a", "gs://b/a"]),
        ("s3://b/l/a.csv", "/r", None, ["s3://b/x", "/r/a"], ["/etc/a", "/ra", "/r/../etc/a".replace("/r/..", "")]),
        ("http://h:1/l/a.csv", "http://h:1/l", None, ["http://h:1/x"], ["http://h:12/a", "http://h/a", "/etc/a"]),
        ("/l/a.csv", "/r", (), ["/r/a", "/l/a"], ["/etc/a", "/ra"]),
        (
            "/l/a.csv",
            "/r",
            ("/data", "s3://b/x", "gs://"),
            ["/data/a", "s3://b/x/a", "gs://c/a"],
            ["/d", "s3://b/xy/a"],
        ),
        ("/l/a.csv", "/r", ("http://h/x",), ["http://h/x/a"], ["http://h/y", "http://h/xy"]),
    ],
)
def test_a_list_reaches_its_own_places(list_uri, root, reach, permitted, refused):
    places = list_reach(DatasetConfig(format="list", split=list_uri, reach=reach), list_uri, root)
    for uri in permitted:
        places.check(uri)
    for uri in refused:
        with pytest.raises(PhotoError, match=r"may not name .+; to permit it, add .+ to dataset\.reach"):
            places.check(uri)


@pytest.mark.parametrize("uri", ["http://h/x/../a", "http://h/x/%2e%2E/a", "s3://b/..", "s3://b/%2e%2e%2fa"])
def test_a_uri_that_leaves_its_folder_is_refused_and_no_place_would_permit_it(uri):
    places = list_reach(DatasetConfig(format="list", reach=("http://", "s3://")), "/l/a.csv", "/r")
    with pytest.raises(PhotoError) as caught:
        places.check(uri)
    assert caught.value.reason == f"a line of this list may not name {uri}: write it without .."


def test_symbolic_links_below_the_root_are_followed(local, animals, tmp_path):
    (tmp_path / "outside.jpg").write_text("photo")
    local.write({"l.txt": "link.jpg dog\n"})
    Path(local.uri, "link.jpg").symlink_to(tmp_path / "outside.jpg")
    config = DatasetConfig(format="list", split=f"{local.uri}/l.txt", reach=())
    assert [photo.image_id for photo in read_dataset(config, animals).photos] == ["link"]


def test_a_mask_in_a_voc_list_stays_below_the_root(local, animals):
    local.write({"v.txt": "a\nb /../../etc/b.png\n", "JPEGImages/a.jpg": "photo", "Annotations/a.xml": "<annotation/>"})
    (reject,) = read_dataset(DatasetConfig(root=local.uri, split=f"{local.uri}/v.txt"), animals).rejects
    assert (reject.image_id, reject.kind) == ("line 2", ErrorKind.BAD_TRUTH)
