"""Bad photos, bad true masks and bad lines of a list, all in one data set that `clipes run` reads."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

Write = Callable[[Path], None]
SIZE = (64, 48)
SECRET = "hunter2"  # a password that must appear in no output of clipes


def picture(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    """Return a picture with smooth colours, so that its JPEG is small."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    rgb = np.stack([255 * columns / size[0], 255 * rows / size[1], np.full(size[::-1], 99)], axis=-1)
    return Image.fromarray(rgb.astype(np.uint8)).convert(mode)


def saved(image: Image.Image, kind: str = "JPEG", **options: object) -> Write:
    """Return a function that writes an image in a format, regardless of the suffix of the path."""
    return lambda path: image.save(path, kind, **options)


def content(data: bytes) -> Write:
    """Return a function that writes bytes."""
    return lambda path: path.write_bytes(data) and None


def nothing(_path: Path) -> None:
    """Write no file."""


def circle(path: Path) -> None:
    """Create a symbolic link to itself."""
    path.symlink_to(path.name)


def half(image: Image.Image) -> Write:
    """Return a function that writes the first half of a JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return content(buffer.getvalue()[: buffer.tell() // 2])


def header_only_png(width: int, height: int) -> bytes:
    """Return a PNG whose header states a size, but which has no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def without_palette(path: Path) -> None:
    """Write a palette PNG without the chunk that holds the palette."""
    saved(picture("P"), "PNG")(path)
    data = path.read_bytes()
    start = data.index(b"PLTE") - 4
    path.write_bytes(data[:start] + data[start + 12 + int.from_bytes(data[start : start + 4]) :])


def without_colour_map(path: Path) -> None:
    """Write a palette TIFF without the tag that holds the palette."""
    saved(picture("P"), "TIFF")(path)
    path.write_bytes(path.read_bytes().replace(struct.pack("<HH", 320, 3), struct.pack("<HH", 60000, 3)))


def sparse(path: Path) -> None:
    """Write a file of 3 GiB that takes no space on the disk."""
    with path.open("wb") as file:
        file.truncate(3 << 30)


def turned() -> Image.Exif:
    """Return the EXIF data of a camera that was held upright."""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    return tags


def long_text() -> PngImagePlugin.PngInfo:
    """Return a text of 2 MiB, such as the settings of a program that generated the photo."""
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * (2 << 20), zip=True)
    return text


def ids(array: np.ndarray) -> Write:
    """Return a function that writes ids as a greyscale PNG."""
    return saved(Image.fromarray(array), "PNG")


GOOD = saved(picture())
IDS = np.zeros(SIZE[::-1], np.uint8)
PAGE = b"<!DOCTYPE html><title>404 Not Found</title>"


@dataclass(frozen=True)
class Line:
    """A line of the list, and the files that it names.

    Attributes:
        image: path of the photo below the root, as written in the list.
        write: function that writes the photo.
        labels: labels separated by `;`.
        write_truth: function that writes the true mask; None if the list names no mask that must be written.
        truth: true mask that the list names without a file being written.
        outside: if true, the photo is outside the root, and the list has its absolute path.
    """

    image: str
    write: Write = GOOD
    labels: str = "dog"
    write_truth: Write | None = None
    truth: str | None = None
    outside: bool = False


PHOTOS = {
    "truncated JPEG": Line("truncated.jpg", half(picture())),
    "empty file": Line("zero.jpg", Path.touch),
    "web page named .jpg": Line("page.jpg", content(PAGE)),
    "HEIC photo (also HEIF)": Line("iphone.jpg", content(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")),
    "camera RAW photo (CR2, CR3, NEF, ARW, DNG, RAF, ORF, RW2 and others)": Line(
        "raw.jpg", saved(picture(), "TIFF", tiffinfo={ExifTags.Base.DNGVersion: b"\1\4\0\0"})
    ),
    "PDF document": Line("document.jpg", content(b"%PDF-1.7\n")),
    "PNG named .jpg": Line("png.jpg", saved(picture(), "PNG")),
    "JPEG named .png": Line("jpeg.png"),
    "greyscale": Line("grey.jpg", saved(picture("L"))),
    "CMYK": Line("cmyk.jpg", saved(picture("CMYK"))),
    "palette": Line("palette.png", saved(picture("P"), "PNG")),
    "palette PNG without a palette": Line("nopalette.png", without_palette),
    "palette TIFF without a palette": Line("nocolours.tif", without_colour_map),
    "16-bit greyscale": Line("16bit.png", ids(IDS.astype(np.uint16) + 7000)),
    "16-bit greyscale with the values of 8 bits": Line("dark.png", ids(IDS.astype(np.uint16) + 7)),
    "floating-point pixels": Line("float.tif", saved(picture("F"), "TIFF")),
    "transparency": Line("alpha.png", saved(picture("RGBA"), "PNG")),
    "EXIF rotation": Line("turned.jpg", saved(picture(), exif=turned())),
    "damaged EXIF data": Line("exif.png", saved(picture(), "PNG", exif=b"Exif\0\0garbage!")),
    "PNG with a text of several MB, or with other large or damaged metadata": Line(
        "text.png", saved(picture(), "PNG", pnginfo=long_text())
    ),
    "animated GIF": Line("moving.gif", saved(picture("P"), "GIF", save_all=True, append_images=[picture("L")])),
    "1x1 pixel": Line("pixel.png", saved(picture(size=(1, 1)), "PNG")),
    "1x5000 pixels": Line("line.png", saved(picture(size=(1, 5000)), "PNG")),
    "6000x4000 pixels": Line("large.jpg", saved(picture(size=(6000, 4000)))),
    "PNG whose header states 20000x20000 pixels": Line("bomb.png", content(header_only_png(20_000, 20_000))),
    "file of more than 2 GiB": Line("sparse.jpg", sparse),
    "EPS named .jpg": Line("eps.jpg", saved(picture(), "EPS")),
    "missing file": Line("none.jpg", nothing),
    "file that disappears after clipes listed it": Line("vanishing.jpg"),
    "folder instead of a photo": Line("folder.jpg", Path.mkdir),
    "symbolic link loop": Line("circle.jpg", circle),
}
LABELS = {
    "list with the class id 0": Line("id0.jpg", labels="0"),
    "list with a negative class id": Line("negative.jpg", labels="-3"),
    "list with a class id above the number of classes": Line("id21.jpg", labels="12;21"),
    "list with a class id that is not an integer": Line("real.jpg", labels="12.0"),
}
TRUTH = {
    "truth of a different size": Line("t-size.jpg", write_truth=ids(IDS[:-1])),
    "truth in RGB": Line("t-rgb.jpg", write_truth=saved(picture(), "PNG")),
    "truth as JPEG": Line("t-jpeg.jpg", write_truth=saved(Image.fromarray(IDS), "JPEG")),
    "16-bit truth": Line("t-16bit.jpg", write_truth=ids(IDS.astype(np.uint16))),
    "truth with an id that is not a class": Line("t-id.jpg", write_truth=ids(IDS + 21)),
    "broken truth file": Line("t-broken.jpg", write_truth=content(b"\x89PNG\r\n\x1a\n")),
    "truth that the list names but that does not exist": Line("t-none.jpg", write_truth=nothing),
    "truth at a URI that no installed package can open": Line("t-address.jpg", truth="foo://there/t.png"),
    "truth at a URI that may contain a password or token": Line("t-secret.jpg", truth="http://h/t?token=" + SECRET),
    "no truth, but other photos have one": Line("t-without.jpg"),
}
LISTS = {
    "id with Unicode characters": Line("поле/träd 木.jpg"),
    "path with slashes": Line("sub/folder/a.jpg"),
    "path with `..` that leaves the root": Line("../outside.jpg"),
    "absolute path outside the root": Line("absolute.jpg", outside=True),
    "file name longer than the file system allows": Line(f"{'n' * 300}.jpg", nothing),
    "URI that no installed package can open": Line("gopher://far/a.jpg", nothing),
    "URI on another server or in another bucket than the list and the root": Line("http://127.0.0.1:9/a.jpg", nothing),
    "URI that chains protocols, such as `simplecache::https://...`": Line("simplecache::http://a/b.jpg", nothing),
    "URI that may contain a password or token": Line(f"https://me:{SECRET}@host/a.jpg", nothing),
    "local file name with `?`, `#`, `@` or `%`": Line("what?token=#1 100%@2x.jpg"),
    "line with too many cells": Line("cells.jpg", labels="dog,cat"),
}
LINES = {
    (group, given): line
    for group, lines in {"Photos": PHOTOS, "Labels": LABELS, "Truth": TRUTH, "Lists": LISTS}.items()
    for given, line in lines.items()
}
VANISHING = PHOTOS["file that disappears after clipes listed it"].image


def write_list_data_set(folder: Path) -> dict[str, str]:
    """Write photos, true masks and `list.csv`; return `Line.image` -> image id."""
    root = folder / "photos"
    root.mkdir()
    rows, image_ids = ["image,labels,truth"], {}
    for line in LINES.values():
        path = (folder if line.outside else root) / line.image
        if "://" not in line.image:
            path.parent.mkdir(parents=True, exist_ok=True)
            line.write(path)
        truth = line.truth or (f"truth/{path.stem}.png" if line.write_truth else "")
        if line.write_truth:
            (root / "truth").mkdir(exist_ok=True)
            line.write_truth(root / truth)
        image = str(path) if line.outside else line.image
        rows.append(f"{image},{line.labels},{truth}")
        unnamed = "," in line.labels or "::" in image or SECRET in f"{image} {truth}"
        image_ids[line.image] = f"line {len(rows)}" if unnamed else _image_id(image)
    (folder / "list.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return image_ids


def _image_id(image: str) -> str:
    """Return the id of a photo in rejects and masks; for a path that clipes rejects, the id is the path itself."""
    return image if image.startswith("..") or "://" in image else image.lstrip("/").rpartition(".")[0]
