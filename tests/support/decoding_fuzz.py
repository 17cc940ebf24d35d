"""Decode damaged photos and true masks, and print what went wrong. A process of its own shows crashes and memory.

Usage: python -m support.decoding_fuzz SEED COUNT FOLDER
"""

import io
import json
import logging
import random
import struct
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from logging.handlers import BufferingHandler
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin
from support.own_process import run_module

from clipes.tasks.inputs.photos import LoadedPhoto, Photo, load_photo
from clipes.tasks.inputs.truth import load_ids
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import Worker, WorkerSlot
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import PhotoError

SIZE = (40, 24)
MAX_SIDE = 32
MAX_PIXELS = 1 << 20  # a damaged header may state more, and the larger photo would only cost time
INTERESTING = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
PNG_HEADER = b"\x89PNG\r\n\x1a\n"


def fuzz(seed: int, count: int, folder: Path) -> dict:
    """Decode damaged files in a process of its own, and return the outcomes and what went wrong."""
    done = run_module(__spec__.name, seed, count, folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return an image in a format."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def valid_photos() -> list[bytes]:
    """Return small photos in all modes and formats that PIL writes and clipes reads."""
    noise = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 4), np.uint8)
    noise[:, :, :3] = noise[:, :, :3] // 8 + np.arange(SIZE[0], dtype=np.uint8)[:, None] * 5
    rgba = Image.fromarray(noise, "RGBA")
    rgb, grey, palette = rgba.convert("RGB"), rgba.convert("L"), rgba.convert("RGB").quantize(16)
    wide = Image.fromarray(np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE[::-1]) * 60)
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "clipes", 6
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * 99, zip=True)
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="8"/>', zip=True)
    icc = {"icc_profile": bytes(range(200))}
    several = {"save_all": True, "append_images": [rgb.rotate(9), rgb.rotate(20)]}
    return [
        *(encoded(rgb, "JPEG", **options) for options in ({}, {"progressive": True}, {"exif": exif}, icc)),
        encoded(rgb.convert("CMYK"), "JPEG"),
        encoded(grey, "JPEG"),
        encoded(rgb, "MPO", save_all=True, append_images=[rgb]),
        *(encoded(image, "PNG") for image in (rgb, rgba, grey, palette, rgba.convert("LA"), rgb.convert("1"), wide)),
        encoded(rgb, "PNG", exif=exif, pnginfo=text, **icc),
        encoded(palette, "PNG", transparency=bytes([0, 99, 255])),
        encoded(rgb, "PNG", transparency=(1, 2, 3)),
        encoded(rgb, "PNG", **several),
        *(encoded(image, "WEBP", lossless=lossless) for image in (rgb, rgba) for lossless in (True, False)),
        encoded(rgb, "WEBP", exif=exif, **icc),
        encoded(rgb, "WEBP", **several),
        encoded(palette, "GIF", transparency=3),
        encoded(palette, "GIF", save_all=True, append_images=[palette.rotate(90), palette]),
        *(encoded(image, "BMP") for image in (rgb, rgba, grey, palette)),
        *(encoded(image, "TIFF") for image in (rgb, grey, palette, wide, rgb.convert("CMYK"), rgba)),
        *(encoded(rgb, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
        encoded(rgb.convert("1"), "TIFF", compression="group4"),
        encoded(rgb, "TIFF", exif=exif, tiffinfo={ExifTags.IFD.Exif: {ExifTags.Base.ExposureTime: 3.0}}),
        encoded(rgb, "TIFF", save_all=True, append_images=[grey]),
        *(encoded(image, "PPM") for image in (rgb, grey, rgb.convert("1"))),
        *(encoded(image, "TGA", compression=name) for image in (rgb, palette) for name in (None, "tga_rle")),
        encoded(rgb, "JPEG2000"),
        encoded(rgba, "JPEG2000", irreversible=True),
        encoded(rgb, "AVIF", exif=exif),
        encoded(rgba, "AVIF"),
        *(encoded(rgb, kind) for kind in ("ICO", "PCX", "SGI", "QOI", "DDS")),
        encoded(rgba.resize((32, 32)), "ICNS"),
        im_file(rgb),
    ]


def im_file(image: Image.Image) -> bytes:
    """Return an image in the format IM, whose header is text. PIL will stop writing this format."""
    header = f"Image type: {image.mode} image\r\nImage size (x*y): {image.width}*{image.height}\r\n".encode()
    return header.ljust(511, b"\0") + b"\x1a" + image.tobytes("raw", "RGB;L")


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the names and contents of the chunks of a PNG."""
    found, start = [], len(PNG_HEADER)
    while start < len(data):
        size = int.from_bytes(data[start : start + 4])
        found.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + size]))
        start += 12 + size
    return found


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG with chunks whose lengths and checksums are correct, whatever they contain."""
    data = PNG_HEADER
    for name, content in chunks:
        data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return data


def flip(rng: random.Random, data: bytearray) -> None:
    """Flip up to five bits."""
    for _ in range(rng.randint(1, 5)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut(rng: random.Random, data: bytearray) -> None:
    """Cut off the end."""
    del data[rng.randrange(len(data)) :]


def remove(rng: random.Random, data: bytearray) -> None:
    """Remove some bytes."""
    start = rng.randrange(len(data))
    del data[start : start + rng.randint(1, 40)]


def repeat(rng: random.Random, data: bytearray) -> None:
    """Repeat some bytes at another place."""
    start, end = rng.randrange(len(data)), rng.randrange(len(data))
    data[end:end] = data[start : start + rng.randint(1, 60)]


def exchange(rng: random.Random, data: bytearray) -> None:
    """Exchange two blocks."""
    size, first, second = rng.randint(1, 16), rng.randrange(len(data)), rng.randrange(len(data))
    data[first : first + size], data[second : second + size] = data[second : second + size], data[first : first + size]


def overwrite(rng: random.Random, data: bytearray) -> None:
    """Overwrite a number, such as a length, an offset or a size, by an extreme value. Most numbers are at the start."""
    size, end = rng.choice((1, 2, 4)), rng.choice((64, 256, len(data)))
    value = rng.choice(INTERESTING) & ((1 << 8 * size) - 1)
    start = rng.randrange(min(end, len(data)))
    data[start : start + size] = value.to_bytes(size, rng.choice(("little", "big")))


def scramble(rng: random.Random, data: bytearray) -> None:
    """Overwrite a part of the header with random bytes."""
    start = rng.randrange(min(48, len(data)))
    size = rng.randint(1, 24)
    data[start : start + size] = rng.randbytes(size)


def rearrange(rng: random.Random, data: bytearray) -> None:
    """Damage the chunks of a PNG, with correct lengths and checksums; damage another file as `exchange` does."""
    chunks = png_chunks(bytes(data)) if data.startswith(PNG_HEADER) else []
    if not chunks:
        exchange(rng, data)
        return
    place = rng.randrange(len(chunks))
    name, content = chunks[place]
    changed = bytearray(content or b"\0")
    rng.choice((flip, cut, overwrite, repeat))(rng, changed)
    other = rng.randrange(len(chunks))
    action = rng.randrange(4)
    if action == 0:
        chunks[place] = (name, bytes(changed))
    elif action == 1:
        del chunks[place]
    elif action == 2:
        chunks.insert(other, chunks[place])
    else:
        chunks[place], chunks[other] = chunks[other], chunks[place]
    data[:] = png(chunks)


DAMAGES: tuple[Callable[[random.Random, bytearray], None], ...] = (
    flip,
    cut,
    remove,
    repeat,
    exchange,
    overwrite,
    overwrite,
    scramble,
    rearrange,
    rearrange,
)


def damaged(rng: random.Random, photos: list[bytes], number: int) -> bytes:
    """Return a photo with one to three damages. All photos take turns."""
    data = bytearray(photos[number % len(photos)])
    for _ in range(rng.randint(1, 3)):
        if data:
            rng.choice(DAMAGES)(rng, data)
    return bytes(data)


def faults(path: Path, exif: str) -> Iterator[str]:
    """Yield `used`, `rejected` or a description of what is wrong, for the photo and the true mask at a path."""
    config = DatasetConfig(root="/", exif=exif, max_side=MAX_SIDE)
    try:
        yield _fault_of_photo(load_photo(Photo("a", str(path), 1, "1", ()), config))
    except PhotoError as error:
        yield _fault_of_error(error, path)
    try:
        ids = load_ids(str(path))
        yield "used" if ids.dtype == np.uint8 and ids.ndim == 2 and ids.size else f"ids {ids.dtype} {ids.shape}"
    except PhotoError as error:
        yield _fault_of_error(error, path)


def _fault_of_photo(loaded: LoadedPhoto) -> str:
    pixels, longer = np.asarray(loaded.image), max(loaded.size_hw)
    if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,):
        return f"pixels {pixels.dtype} {pixels.shape}"
    if max(pixels.shape[:2]) != min(longer, MAX_SIDE):
        return f"size {pixels.shape} of a photo of {loaded.size_hw}"
    return "used"


def _fault_of_error(error: PhotoError, path: Path) -> str:
    return "rejected" if str(path) in error.reason and error.reason.isprintable() else f"reason {error.reason!r}"


def main() -> None:
    """Damage and decode files; print the outcomes, the faults with their cases, and the memory that was needed."""
    seed, count, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    worker = Worker(WorkerSlot("cpu", 1), Counters(()).of_slot())
    rng, photos = random.Random(seed), valid_photos()
    outcomes: Counter[str] = Counter()
    wrong = []
    before = worker.peak_memory_mib
    shown = BufferingHandler(capacity=1 << 20)
    logging.getLogger().addHandler(shown)
    logging.captureWarnings(capture=True)
    warnings.simplefilter("always")
    path = folder / "damaged.jpg"
    for number in range(count):
        path.write_bytes(damaged(rng, photos, number))
        try:
            found = list(faults(path, rng.choice(("ignore", "apply"))))
        except Exception as exc:
            found = [repr(exc)]
        outcomes.update(found)
        if not set(found) <= {"used", "rejected"}:
            wrong.append((number, found))
    memory_mib, messages = worker.peak_memory_mib - before, [each.getMessage() for each in shown.buffer]
    print(json.dumps({"outcomes": outcomes, "wrong": wrong, "shown": messages, "memory_mib": memory_mib}))


if __name__ == "__main__":
    main()
