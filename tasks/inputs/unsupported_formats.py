"""Recognise files that PIL cannot decode, or of which it decodes only a preview, by their content."""

import io

from PIL import ExifTags, Image, TiffImagePlugin, features

TO_JPEG = "convert it to JPEG or PNG"
HEIF = f"it is a HEIF (HEIC) photo: {TO_JPEG}, for example with the Python package pillow-heif"
RAW = f"it is a camera RAW file: {TO_JPEG}, for example with the Python package rawpy"
VIDEO = "it is a video: save its frames as JPEG or PNG, for example with ffmpeg"
JPEG_XL = f"it is a JPEG XL photo: {TO_JPEG}, for example with the Python package pillow-jxl-plugin"
MEDICAL = f"it is a DICOM file: {TO_JPEG}, for example with the Python package pydicom"
ARCHIVE = "it is an archive or a compressed file: extract it, and name the photos inside"
PDF = f"it is a PDF document: {TO_JPEG}, for example with the Python package pypdfium2"
SVG = f"it is an SVG drawing: {TO_JPEG}, for example with the Python package CairoSVG"
WEB_PAGE = "it is a web page, such as a login page: check its address, and download the photo again"
PREVIEW = f"its first image is only a preview of another image in the file, as in camera RAW files: {TO_JPEG}"
AVIF = f"it is an AVIF photo, which this build of Pillow does not support: install another build, or {TO_JPEG}"
LAYERS = "it is a PSD file that holds only layers: save it with maximum compatibility, or as JPEG or PNG"

SIGNATURES = (  # offset, bytes at this offset, what the file is and what to do
    (0, b"FUJIFILMCCD-RAW", RAW),
    (0, b"IIRO", RAW),
    (0, b"IIRS", RAW),
    (0, b"MMOR", RAW),
    (0, b"IIU\0", RAW),
    (0, b"FOVb", RAW),
    (0, b"\0MRM", RAW),
    (6, b"HEAPCCDR", RAW),
    (0, b"%PDF", PDF),
    (0, b"%!PS", f"it is a PostScript (EPS) file, which is a program: {TO_JPEG}"),
    (0, b"\xc5\xd0\xd3\xc6", f"it is a PostScript (EPS) file, which is a program: {TO_JPEG}"),
    (0, b"\xff\x0a", JPEG_XL),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", JPEG_XL),
    (0, b"II\xbc", f"it is a JPEG XR photo: {TO_JPEG}"),
    (0, b"gimp xcf", f"it is a GIMP image: {TO_JPEG}, for example with GIMP"),
    (0, b"\x76\x2f\x31\x01", f"it is an OpenEXR image: {TO_JPEG}"),
    (0, b"#?R", f"it is a Radiance HDR image: {TO_JPEG}"),
    (0, b"BPG\xfb", f"it is a BPG photo: {TO_JPEG}"),
    (128, b"DICM", MEDICAL),
    (4, b"moov", VIDEO),
    (4, b"mdat", VIDEO),
    (0, b"\0\0\1\xba", VIDEO),
    (0, b"\0\0\1\xb3", VIDEO),
    (0, b"\x1a\x45\xdf\xa3", VIDEO),
    (0, b"FLV\1", VIDEO),
    (0, b"OggS", VIDEO),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", VIDEO),
    (8, b"AVI LIST", VIDEO),
    (0, b"PK\3\4", ARCHIVE),
    (0, b"\x1f\x8b\x08", ARCHIVE),
    (0, b"Rar!\x1a", ARCHIVE),
    (0, b"7z\xbc\xaf\x27\x1c", ARCHIVE),
    (257, b"ustar", ARCHIVE),
    (0, b"\0\5\x16\7", "it is a macOS file of metadata (._NAME), not a photo: name the photo without ._"),
    (0, b"version https://git-lfs", "it is a pointer of Git LFS, not the photo itself: run git lfs pull"),
)
RAW_TIFFS = (b"CR\2", b"IIII", b"MMMM")  # what follows the header of a TIFF in some camera RAW files
MOST_BRAND_BYTES = 256  # the part of the first box that is searched for brands
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
MARKUP = ((b"<svg", SVG), (b"<!doctype html", WEB_PAGE), (b"<html", WEB_PAGE))
MARKUP_BYTES = 1024  # the part of a file in which its root element must start
SENSOR_PHOTOMETRICS = (32803, 34892)  # values of the TIFF tag PhotometricInterpretation for the pixels of a sensor
BIG_TIFF = 43  # version number in the header of a TIFF with 64-bit offsets
MOST_SUBDIRECTORIES = 16
PSD_VERSION_INFO = 1057  # id of the block that says whether a PSD file holds its merged image


def refusal(data: bytes) -> str | None:
    """Return what a file is and what to do, if PIL cannot decode it or would decode only a preview.

    Args:
        data: content of the file.

    Returns:
        The remark; None if PIL must decide whether it can decode the file.
    """
    for offset, content, remark in SIGNATURES:
        if data.startswith(content, offset):
            return remark
    if data.startswith(b"ftyp", 4):
        return _media_refusal(data)
    if data.startswith(tuple(TiffImagePlugin.PREFIXES)):
        return _tiff_refusal(data)
    start = data[:MARKUP_BYTES].lower()
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return next((remark for tag, remark in MARKUP if tag in start), None)
    return None


def psd_refusal(image: Image.Image) -> str | None:
    """Return what to do with a PSD file that lacks the merged image. PIL would decode it as a white image."""
    versions = [data for number, _, data in getattr(image, "resources", ()) if number == PSD_VERSION_INFO]
    return LAYERS if any(data[4:5] == b"\0" for data in versions) else None


def _media_refusal(data: bytes) -> str | None:
    """Return the remark about a file that consists of boxes, such as HEIF, AVIF, MP4 and camera RAW files."""
    end = min(int.from_bytes(data[:4]), MOST_BRAND_BYTES)
    brands = {data[start : start + 4] for start in (8, *range(16, end, 4))}
    if not brands.isdisjoint((b"avif", b"avis")):
        return None if features.check("avif") else AVIF
    if b"crx " in brands:
        return RAW
    return VIDEO if brands.isdisjoint(HEIF_BRANDS) else HEIF


def _tiff_refusal(data: bytes) -> str | None:
    """Return the remark about a TIFF that is a camera RAW file, or whose first image is only a preview."""
    if data.startswith(RAW_TIFFS, 8):
        return RAW
    try:
        first, *nested = _tiff_directories(data)
    except Exception:  # damaged directories raise errors of many types; PIL must decide whether it needs them
        return None
    if any(_of_sensor(tags) for tags in (first, *nested)):
        return RAW
    is_preview = first.get(ExifTags.Base.NewSubfileType) == 1
    return PREVIEW if is_preview and (nested or first.next != 0) else None


def _tiff_directories(data: bytes) -> list[TiffImagePlugin.ImageFileDirectory_v2]:
    """Return the first directory of a TIFF, and the directories nested in it."""
    header = data[: 16 if BIG_TIFF in data[2:4] else 8]
    first = TiffImagePlugin.ImageFileDirectory_v2(header)
    _load(first, data, first.next)
    found = [first]
    nested = first.get(ExifTags.Base.SubIFDs, ())
    for offset in (nested if isinstance(nested, tuple) else (nested,))[:MOST_SUBDIRECTORIES]:
        found.append(TiffImagePlugin.ImageFileDirectory_v2(header))
        _load(found[-1], data, offset)
    return found


def _load(tags: TiffImagePlugin.ImageFileDirectory_v2, data: bytes, offset: int) -> None:
    tags.next = 0  # as it stays if the directory is cut off
    file = io.BytesIO(data)
    file.seek(offset)
    tags.load(file)


def _of_sensor(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    return ExifTags.Base.DNGVersion in tags or (
        tags.get(ExifTags.Base.PhotometricInterpretation) in SENSOR_PHOTOMETRICS
    )
