"""Photos in archives and on web servers, read inside this process."""

import logging
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from support.archives import jpeg, member, parquet, tar
from support.input_cases.readers import seen_by_readers
from support.input_cases.seen import Seen
from support.web_server import Handler, flaky_files, serve

from clipes_core.config.dataset import DatasetConfig

DATA_OF_A = 3 * tarfile.BLOCKSIZE  # the header and the data of the first member of BOTH
BOTH = tar({"a.jpg": jpeg(), "b.jpg": jpeg()})


def archive(content: bytes, photo: str = "b", name: str = "0.tar") -> Callable[[Path], Seen]:
    """Return a case with an archive; the photo of interest is its member `photo`.jpg."""
    return files({name: content}, f"{name}/{photo}.jpg", photo)


def files(contents: Mapping[str, bytes], image: str, image_id: str, **settings: Any) -> Callable[[Path], Seen]:
    """Return a case with some files, and a list with the photo `image`."""

    def seen(folder: Path) -> Seen:
        for name, content in contents.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        (folder / "list.csv").write_text(f"image,labels\n{image},dog\n")
        logger = logging.getLogger("clipes")
        before = logger.level
        logger.setLevel(logging.INFO)
        try:
            config = DatasetConfig(format="list", root=str(folder), split=str(folder / "list.csv"), **settings)
            return seen_by_readers(config, image_id)
        finally:
            logger.setLevel(before)

    return seen


def damaged(content: bytes, byte: int) -> bytes:
    """Return a content with one flipped bit."""
    return content[:byte] + bytes([content[byte] ^ 1]) + content[byte + 1 :]


class Plain(Handler):
    """Answers with the photo or with the HTTP status in the path, and without headers that tell when a file changed."""

    def do_HEAD(self):  # noqa: N802 - the name that http.server calls
        self._answer()

    def do_GET(self):  # noqa: N802 - the name that http.server calls
        self.wfile.write(self._answer())

    def _answer(self) -> bytes:
        status = self.path.strip("/").partition(".")[0]
        content = tar({"b.jpg": jpeg()}) if ".tar" in self.path else jpeg()
        self.send_response(int(status) if status.isdecimal() else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content


class Redirecting(Plain):
    """Redirects each request to another server."""

    def _answer(self) -> bytes:
        self.send_response(302)
        self.send_header("Location", "https://cdn.example/b.jpg")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return b""


def served(handler: type[Handler], path: str, image_id: str) -> Callable[[Path], Seen]:
    """Return a case with a photo of a web server, next to a local photo."""

    def seen(folder: Path) -> Seen:
        with serve(handler) as url:
            return files({"a.jpg": jpeg()}, f"a.jpg,dog\n{url}/{path}", f"{url[7:]}/{image_id}", reach=(url,))(folder)

    return seen


OF_SOURCES: dict[tuple[str, str], Callable[[Path], Seen]] = {
    ("Photos", "tar archive with members that the list does not name, such as captions"): archive(
        tar({"b.jpg": jpeg(), "b.json": b"{}", "b.txt": b"a dog"})
    ),
    ("Photos", "folder named x.tar"): files({"x.tar/b.jpg": jpeg()}, "x.tar/b.jpg", "b"),
    ("Photos", "link in a tar archive"): archive(
        tar([("a.jpg", jpeg()), (member("b.jpg", type=tarfile.SYMTYPE, linkname="a.jpg"), b"")])
    ),
    ("Photos", "name that occurs more than once in a tar archive"): archive(
        tar([("b.jpg", jpeg()), ("b.jpg", jpeg())])
    ),
    ("Photos", "tar archive that is cut off"): archive(BOTH[: DATA_OF_A + 600]),
    ("Photos", "tar archive with a damaged header"): archive(damaged(BOTH, DATA_OF_A)),
    ("Photos", "tar archive with data after its end marker"): archive(tar({"a.jpg": jpeg()}) + tar({"b.jpg": jpeg()})),
    ("Photos", "compressed tar archive (.tar.gz, .tgz, .tar.xz and others)"): archive(
        tar({"b.jpg": jpeg()}, "w:gz"), name="0.tar.gz"
    ),
    (
        "Lists",
        "web server that fails every fifth request (a status such as 429 or 503, or a broken connection)",
    ): served(flaky_files({"/b.jpg": jpeg()}, every=2, asked=["an earlier request"]), "b.jpg", "b"),
    ("Lists", "photo that the web server does not have (404)"): served(Plain, "404.jpg", "404"),
    ("Lists", "photo that the web server does not give out (401, 403)"): served(Plain, "403.jpg", "403"),
    ("Lists", "web server that redirects to another server in a private network"): served(Redirecting, "b.jpg", "b"),
    ("Lists", "web server that states neither an ETag nor a time of the last change"): served(Plain, "b.jpg", "b"),
    ("Lists", "archive on a web server that does not send parts of files"): served(Plain, "0.tar/b.jpg", "b"),
    ("Photos", "Parquet file with a key twice"): archive(parquet([("b", jpeg()), ("b", jpeg())]), name="0.parquet"),
    ("Photos", "Parquet file with a row that has no photo"): archive(parquet({"b": None}), name="0.parquet"),
    ("Photos", "Parquet file without a column `key`, or without a column of photos"): archive(
        parquet(columns={"id": ["b"], "jpg": [jpeg()]}), name="0.parquet"
    ),
    ("Photos", "Parquet file that is cut off"): archive(parquet({"b": jpeg()})[:-20], name="0.parquet"),
    ("Photos", "Parquet file with a damaged row group"): archive(
        damaged(parquet({"b": jpeg()}), parquet({"b": jpeg()}).index(jpeg()) + 5), name="0.parquet"
    ),
    ("Photos", "web page named .tar"): archive(b"<!DOCTYPE html><title>404 Not Found</title>"),
}
