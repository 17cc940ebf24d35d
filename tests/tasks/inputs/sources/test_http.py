"""Photos on web servers: servers that fail at times, that lack headers, and that send archives in part."""

import logging
import os
from email.utils import formatdate

import pytest
from support.archives import jpeg, shard
from support.web_server import Handler, flaky_files, serve

from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes.tasks.inputs.photos import LoadedPhoto, load_photos
from clipes.tasks.inputs.sources.source import ABSENT, CONTENT, UNKNOWN
from clipes.tasks.inputs.sources.table import find_files, read_listed
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import ErrorKind, PhotoError, StorageError


def test_a_server_that_fails_every_fifth_request_costs_no_photo(tmp_path):
    photos = {f"/{number}.jpg": jpeg(number) for number in range(60)}
    files = flaky_files(photos)
    with serve(files) as url:
        (tmp_path / "list.csv").write_text("\n".join(["image,labels", *(f"{url}{path},dog" for path in photos)]))
        config = DatasetConfig(format="list", split=str(tmp_path / "list.csv"), reach=(url,))
        listing = read_dataset(config, load_vocabulary("voc12"))
        loaded = dict(load_photos(listing.photos, config))
    assert listing.rejects == ()
    assert [photo.uri for photo in loaded] == [f"{url}{path}" for path in photos]
    assert all(isinstance(each, LoadedPhoto) for each in loaded.values()), loaded
    assert len(files.asked) == 2 * len(photos) + len(files.asked) // 5  # each photo is looked up and read


def test_a_photo_that_the_server_does_not_have_is_missing(tmp_path):
    with serve(flaky_files({"/a.jpg": jpeg()}, every=0)) as url:
        (tmp_path / "list.csv").write_text("image,labels\na.jpg,dog\nb.jpg,dog\n")
        config = DatasetConfig(format="list", root=url, split=str(tmp_path / "list.csv"))
        listing = read_dataset(config, load_vocabulary("voc12"))
    assert [photo.image_id for photo in listing.photos] == ["a"]
    assert [(row.image_id, row.kind, row.reason) for row in listing.rejects] == [
        ("b", ErrorKind.MISSING, f"no file at {url}/b.jpg; correct the name, or add the file")
    ]


def test_an_etag_tells_whether_a_file_has_changed():
    contents = {"/a.jpg": b"old"}
    with serve(flaky_files(contents, every=0)) as url:
        facts = find_files([f"{url}/a.jpg"]).files[f"{url}/a.jpg"]
        assert facts.size_bytes == 3
        assert read_listed(facts.uri, facts.fingerprint) == read_listed(facts.uri, UNKNOWN) == b"old"
        contents["/a.jpg"] = b"new"
        for fingerprint in (facts.fingerprint, ABSENT):
            with pytest.raises(PhotoError, match=r"/a.jpg has changed since the run listed it: run again$"):
                read_listed(facts.uri, fingerprint)


class Dated(Handler):
    """Serves a file with the time of its last change, and without an ETag; it answers only GET."""

    content, time = b"old", 1e9

    def do_GET(self):  # noqa: N802 - the name that http.server calls
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        if self.time is not None:
            self.send_header("Last-Modified", formatdate(self.time, usegmt=True))
        self.end_headers()
        self.wfile.write(self.content)


@pytest.mark.parametrize(("content", "time"), [(b"newer", 1e9), (b"new", 1e9 + 1)])
def test_without_an_etag_the_size_and_the_time_tell_whether_a_file_has_changed(monkeypatch, content, time):
    with serve(Dated) as url:
        facts = find_files([f"{url}/a.jpg"]).files[f"{url}/a.jpg"]
        assert facts.fingerprint == "3-Sun, 09 Sep 2001 01:46:40 GMT"
        assert read_listed(facts.uri, facts.fingerprint) == b"old"
        monkeypatch.setattr(Dated, "content", content)
        monkeypatch.setattr(Dated, "time", time)
        with pytest.raises(PhotoError, match="has changed since the run listed it"):
            read_listed(facts.uri, facts.fingerprint)


def test_without_an_etag_and_a_time_files_are_identified_by_their_content(monkeypatch, caplog):
    monkeypatch.setattr(Dated, "time", None)
    with serve(Dated) as url:
        uris = [f"{url}/a.jpg", f"{url}/b.jpg"]
        facts = find_files(uris).files[uris[0]]
        assert facts.fingerprint.startswith(CONTENT)
        assert read_listed(uris[0], facts.fingerprint) == b"old"
        monkeypatch.setattr(Dated, "content", b"new")
        with pytest.raises(PhotoError, match="has changed since the run listed it"):
            read_listed(uris[0], facts.fingerprint)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning == (
        "2 files on web servers have neither an ETag nor a plausible time of their last change (the first is "
        f"{uris[0]}): clipes downloads them at the start of each run to notice changes"
    )


class Refusing(Handler):
    """Answers with the HTTP status in the path, and asks to wait."""

    asked = 0

    def do_HEAD(self):  # noqa: N802 - the name that http.server calls
        type(self).asked += 1
        self.send_response(int(self.path.strip("/").partition(".")[0]))
        self.send_header("Retry-After", formatdate(32503680000, usegmt=True))  # the year 3000
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815 - the name that http.server calls


@pytest.mark.parametrize(("status", "kind", "asked"), [(403, ErrorKind.UNREADABLE, 2), (503, ErrorKind.NETWORK, 1)])
def test_a_photo_that_cannot_be_looked_up_is_the_failure_of_this_photo(monkeypatch, status, kind, asked):
    """Check that clipes does not wait for a time that is too far away."""
    monkeypatch.setattr(Refusing, "asked", 0)
    with serve(Refusing) as url:
        failure = find_files([f"{url}/{status}.jpg"]).failures[f"{url}/{status}.jpg"]
    assert isinstance(failure, PhotoError)
    assert failure.kind is kind
    assert f"{url}/{status}.jpg: {status}" in failure.reason
    assert Refusing.asked == asked  # a server may refuse only HEAD, so a refusal is followed by GET


def test_photos_in_an_archive_on_a_web_server_are_read_in_part():
    photos = {f"{number}": os.urandom(100_000) for number in range(5)}
    files = flaky_files({"/0.tar": shard(photos)})
    with serve(files) as url:
        uris = [f"{url}/0.tar/{key}.jpg" for key in photos]
        found = find_files(uris)
        assert [read_listed(uri, found.files[uri].fingerprint) for uri in uris] == list(photos.values())
        files.contents["/0.tar"] = shard({"0": b"new"})
        with pytest.raises(PhotoError, match=r"0.tar has changed since the run listed it"):
            read_listed(uris[0], found.files[uris[0]].fingerprint)


def test_a_server_that_sends_only_whole_files_cannot_serve_archives(monkeypatch):
    monkeypatch.setattr(Dated, "content", shard({"0": b"photo" * 10_000}))
    with serve(Dated) as url:
        failure = find_files([f"{url}/0.tar/0.jpg"]).failures[f"{url}/0.tar/0.jpg"]
        assert str(failure) == (
            f"{url}/0.tar: the server does not send parts of files, which archives need: download the archive"
        )
        with pytest.raises(StorageError, match="does not send parts"):
            read_listed(f"{url}/0.tar/0.jpg", "tar:0+5@")
