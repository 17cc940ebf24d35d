"""Redirects of web servers to the same host, to the internet and to private networks."""

import asyncio
from typing import ClassVar

import pytest
from support.archives import jpeg
from support.web_server import Handler, flaky_files, serve
from yarl import URL

from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes.tasks.inputs.sources.source import UNKNOWN
from clipes.tasks.inputs.sources.table import read_listed
from clipes.tasks.inputs.sources.web.redirects import check_redirects_of
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import ErrorKind, StorageError


class Redirecting(Handler):
    """Redirects the paths in `targets`, and serves a photo under every other path except `/none.jpg`."""

    targets: ClassVar[dict[str, str]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self):  # noqa: N802 - the name that http.server calls
        self.asked.append(self.path)
        if self.path == "/none.jpg":
            self.send_error(404)
            return
        target = self.targets.get(self.path)
        self.send_response(200 if target is None else 302)
        if target is not None:
            self.send_header("Location", target)
        self.send_header("Content-Length", "5" if target is None else "0")
        self.end_headers()
        self.wfile.write(b"photo" if target is None else b"")


def test_a_redirect_to_another_server_of_a_private_network_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(Redirecting, "targets", {"/a.jpg": "/moved.jpg"})
    monkeypatch.setattr(Redirecting, "asked", [])
    other = flaky_files({"/secret.jpg": jpeg()}, every=0)
    with serve(other) as hidden, serve(Redirecting) as url:
        assert read_listed(f"{url}/a.jpg", UNKNOWN) == b"photo"
        Redirecting.targets["/b.jpg"] = f"{hidden}/secret.jpg?token=abc"
        reason = (
            f"{url}/b.jpg: the server redirects to {hidden}, which is not a server in the internet: if you trust it, "
            "name the file there"
        )
        with pytest.raises(StorageError) as caught:
            read_listed(f"{url}/b.jpg", UNKNOWN)
        assert str(caught.value) == reason
        (tmp_path / "list.csv").write_text("image,labels\na.jpg,dog\nb.jpg,dog\nnone.jpg,dog\n")
        config = DatasetConfig(format="list", root=url, split=str(tmp_path / "list.csv"))
        listing = read_dataset(config, load_vocabulary("voc12"))
    assert [photo.image_id for photo in listing.photos] == ["a"]
    assert [(row.image_id, row.kind, row.reason) for row in listing.rejects] == [
        ("b", ErrorKind.UNREADABLE, reason),
        ("none", ErrorKind.MISSING, f"no file at {url}/none.jpg; correct the name, or add the file"),
    ]
    assert other.asked == []
    assert "/" not in Redirecting.asked  # the page of the folder could be on another server, too


@pytest.mark.parametrize(
    ("target", "followed"),
    [
        ("http://host/b", True),
        ("https://host/b", True),
        ("http://host:8080/b", False),
        ("https://host:444/b", False),
        ("http://127.0.0.1/b", False),
        ("http://localhost/b", False),
        ("http://10.0.0.7/b", False),
        ("http://169.254.169.254/latest", False),  # the metadata of a machine in a cloud
        ("http://[::1]/b", False),
        ("http://[fe80::1%25lo]/b", False),
        ("http://[::ffff:10.0.0.7]/b", False),
        ("http://no.such.host.invalid/b", False),
        ("https://8.8.8.8/b", True),
        ("http://[2001:4860:4860::8888]:8080/b", True),
    ],
)
def test_a_redirect_may_lead_to_https_and_to_the_internet(target, followed):
    class Request:
        url = URL(target)

    async def handler(_request):
        return "answer"

    call = check_redirects_of(URL("http://host/a"))(Request(), handler)
    if followed:
        assert asyncio.run(call) == "answer"
    else:
        with pytest.raises(StorageError, match="redirects to"):
            asyncio.run(call)
