import io
import struct

import numpy as np
import pytest
from PIL import Image, features

from clipes.tasks.inputs.photos import Photo, load_photo
from clipes.tasks.inputs.unsupported_formats import refusal
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import PhotoError


def boxes(brand: bytes, *others: bytes) -> bytes:
    """Return the first box of a HEIF, MP4 or similar file, and the start of the next."""
    content = brand + bytes(4) + b"".join(others)
    return struct.pack(">I", 8 + len(content)) + b"ftyp" + content + b"\0\0\1\0meta"


def directory(order: str, start: int, following: int, tags: dict[int, int]) -> bytes:
    """Return a TIFF directory at an offset. All values are LONG."""
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", following)


def tiff(*directories: dict[int, int], order: str = "<", chained: bool = False) -> bytes:
    """Return a TIFF whose first directory has a 4x4 grey image, and whose other directories are nested or chained."""
    image = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 4, 279: 16}
    first = image | directories[0]
    size = 2 + 12 * len(first) + 4
    at = 24 + size
    following = at if chained else 0
    if len(directories) > 1 and not chained:
        first[330] = at + 12
        size += 12
        at = first[330]
    magic = b"II*\0" if order == "<" else b"MM\0*"
    nested = b"".join(directory(order, at, 0, image | tags) for tags in directories[1:])
    return magic + struct.pack(f"{order}I", 24) + bytes(range(16)) + directory(order, 24, following, first) + nested


CFA = {262: 32803}
PREVIEW = {254: 1}
UNSUPPORTED = {
    "HEIC": (boxes(b"heic", b"mif1"), "a HEIF (HEIC) photo: convert it to JPEG or PNG, .* pillow-heif$"),
    "HEIF of another camera": (boxes(b"mif1", b"miaf", b"hevc"), "a HEIF"),
    "CR3": (boxes(b"crx ", b"isom"), "a camera RAW file: .* rawpy$"),
    "CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(64), "a camera RAW file"),
    "NEF": (tiff(PREVIEW, CFA), "a camera RAW file"),
    "NEF in big-endian order": (tiff(PREVIEW, CFA, order=">"), "a camera RAW file"),
    "DNG": (tiff(PREVIEW | {50706: 0x00040100}), "a camera RAW file"),
    "DNG of linear pixels": (tiff({262: 34892}), "a camera RAW file"),
    "PEF": (tiff(CFA), "a camera RAW file"),
    "ARW": (tiff(PREVIEW, {}), "only a preview of another image in the file"),
    "TIFF that starts with a preview": (tiff(PREVIEW, {}, chained=True), "only a preview"),
    "RAF": (b"FUJIFILMCCD-RAW 0201", "a camera RAW file"),
    "ORF": (b"IIRO\x08\0\0\0", "a camera RAW file"),
    "RW2": (b"IIU\0\x18\0\0\0", "a camera RAW file"),
    "CRW": (b"II\x1a\0\0\0HEAPCCDR", "a camera RAW file"),
    "PDF": (b"%PDF-1.7\n", "a PDF document: .* pypdfium2$"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript"),
    "SVG": (
        b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x -->\n<svg xmlns='x'/>",
        "an SVG drawing",
    ),
    "web page": (
        b"\r\n<!DOCTYPE html><title>404</title>",
        "a web page, such as a login page: check its address, and download the photo again",
    ),
    "MP4": (boxes(b"isom", b"avc1"), "a video: save its frames"),
    "MOV": (boxes(b"qt  "), "a video"),
    "old MOV": (b"\0\0\0\x08moov", "a video"),
    "AVI": (b"RIFF\0\0\0\0AVI LIST", "a video"),
    "WebM": (b"\x1a\x45\xdf\xa3", "a video"),
    "MPEG": (b"\0\0\1\xba", "a video"),
    "JPEG XL": (b"\xff\x0a\xfa", "a JPEG XL photo"),
    "JPEG XL in a container": (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL photo"),
    "DICOM": (bytes(128) + b"DICM", "a DICOM file"),
    "GIMP": (b"gimp xcf v011", "a GIMP image"),
    "ZIP": (b"PK\3\4", "an archive"),
    "file of macOS": (b"\0\5\x16\7\0\2\0\0", "name the photo without ._"),
    "pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "run git lfs pull"),
}


@pytest.mark.parametrize(("content", "reason"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_an_unsupported_file_is_rejected_with_its_format_and_what_to_do(tmp_path, content, reason):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(
        PhotoError, match=rf"^{path} \({len(content)} bytes\) cannot be decoded: .*{reason.replace('(HEIC)', '.HEIC.')}"
    ) as caught:
        load_photo(Photo("a", str(path), 1, "1", ()), DatasetConfig(root="/"))
    assert caught.value.kind == "undecodable"


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "I;16"])
def test_an_ordinary_tiff_is_left_to_pil(mode, options):
    buffer = io.BytesIO()
    Image.new(mode, (8, 6)).save(buffer, "TIFF", **options)
    assert refusal(buffer.getvalue()) is None


def test_a_tiff_with_reduced_versions_after_its_image_is_left_to_pil():
    assert refusal(tiff({254: 0}, PREVIEW)) is None
    assert refusal(tiff({254: 0}, PREVIEW, chained=True)) is None
    assert refusal(tiff(PREVIEW)) is None  # there is no other image


def test_every_kind_of_photo_that_pil_writes_is_left_to_pil():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    for kind in (
        "AVIF",
        "BMP",
        "GIF",
        "ICO",
        "JPEG",
        "JPEG2000",
        "PCX",
        "PNG",
        "PPM",
        "QOI",
        "SGI",
        "TGA",
        "TIFF",
        "WEBP",
    ):
        buffer = io.BytesIO()
        noise.save(buffer, kind)
        assert refusal(buffer.getvalue()) is None, kind


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_directories_of_a_tiff_are_left_to_pil():
    data = tiff(PREVIEW, CFA)
    for end in range(8, 60):
        assert refusal(data[:end]) is None
    assert refusal(b"II*\0") is None


def test_avif_is_decoded_if_pil_supports_it():
    assert features.check("avif")
    assert refusal(boxes(b"avif", b"mif1")) is None
    assert refusal(boxes(b"mif1", b"avif")) is None


@pytest.mark.parametrize("merged", [True, False])
def test_a_psd_file_is_used_only_if_it_holds_its_merged_image(tmp_path, merged):
    version = struct.pack(">IB", 1, merged) + bytes(10) + b"\0"
    block = b"8BIM" + struct.pack(">HHI", 1057, 0, len(version)) + version
    block = struct.pack(">I", len(block)) + block
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 4, 6, 8, 3)
    pixels = struct.pack(">H", 0) + bytes(range(72))
    path = tmp_path / "a.psd"
    path.write_bytes(header + bytes(4) + block + bytes(4) + pixels)
    photo = Photo("a", str(path), 1, "1", ())
    if merged:
        loaded = load_photo(photo, DatasetConfig(root="/"))
        assert np.asarray(loaded.image)[0, 0].tolist() == [0, 24, 48]
    else:
        with pytest.raises(PhotoError, match="holds only layers: save it with maximum compatibility"):
            load_photo(photo, DatasetConfig(root="/"))
