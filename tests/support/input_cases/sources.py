"""Photos in archives, read inside this process."""

import logging
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from support.archives import jpeg, member, tar
from support.input_cases.readers import seen_by_readers
from support.input_cases.seen import Seen

from clipes_core.config.dataset import DatasetConfig

DATA_OF_A = 3 * tarfile.BLOCKSIZE  # the header and the data of the first member of BOTH
BOTH = tar({"a.jpg": jpeg(), "b.jpg": jpeg()})


def archive(content: bytes, photo: str = "b", name: str = "0.tar") -> Callable[[Path], Seen]:
    """Return a case with an archive; the photo of interest is its member `photo`.jpg."""
    return files({name: content}, f"{name}/{photo}.jpg", photo)


def files(contents: Mapping[str, bytes], image: str, image_id: str) -> Callable[[Path], Seen]:
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
            config = DatasetConfig(format="list", root=str(folder), split=str(folder / "list.csv"))
            return seen_by_readers(config, image_id)
        finally:
            logger.setLevel(before)

    return seen


def damaged(content: bytes, byte: int) -> bytes:
    """Return a content with one flipped bit."""
    return content[:byte] + bytes([content[byte] ^ 1]) + content[byte + 1 :]


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
    ("Photos", "web page named .tar"): archive(b"<!DOCTYPE html><title>404 Not Found</title>"),
}
