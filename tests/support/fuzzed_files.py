"""Random changes of valid lists, annotations and vocabularies, each determined by a seed."""

import io
import json
from collections.abc import Callable
from random import Random
from typing import Any

import pyarrow
import pyarrow.parquet

PHOTOS = ("a.jpg", "b.jpg", "sub/c.jpg", "träd.png")
NAMES = ("dog", "cat", "traffic light", "couch")
DEAD = "http://127.0.0.1:1"  # nothing listens at this port
TOKENS = (
    *(
        "",
        " ",
        ";",
        ",",
        "|",
        "\t",
        "\n",
        "\r\n",
        '"',
        "'",
        "\0",
        "\ufeff",
        "\u2028",
        "\x1b[2J",
        "\\",
        "/",
        "..",
        "::",
        "~",
    ),
    *("zip://a.jpg", "tar://x", "reference://x", "memory://none/a.jpg", "file://", "gopher://x", f"{DEAD}/a.jpg"),
    *("x" * 300, "y/" * 700, "z" * 70_000, "é", "e\u0301", "犬", "\U0001f415", "%s", "{}", "[x]", "${x}", "*a", "&a"),
    *("NaN", "-1", "0", "1e999", "9" * 400, "9" * 5000, "null", "true", "<object>", "</object>", "<!DOCTYPE a>", "]]>"),
    *PHOTOS,
    *NAMES,
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "gbk", "cp037")


def changed_bytes(random: Random, content: bytes) -> bytes:
    """Return content with one to four random changes: flipped, removed, repeated or inserted bytes."""
    for _ in range(random.randint(1, 4)):
        start = random.randint(0, len(content))
        end = min(len(content), start + random.choice((1, 1, 2, 8, 100)))
        part = content[start:end]
        new = random.choice(
            (
                bytes(byte ^ 1 << random.randrange(8) for byte in part),
                b"",
                part * random.randint(2, 30),
                part + random.choice(TOKENS).encode(),
                random.randbytes(random.randint(1, 20)),
            )
        )
        content = content[:start] + new + (b"" if random.random() < 0.1 else content[end:])
    return content


def changed_text(random: Random, text: str) -> bytes:
    """Return a text with random changes, in a random encoding."""
    encoding = random.choice(ENCODINGS) if random.random() < 0.2 else "utf-8"
    content = text.encode(encoding, "replace")
    return changed_bytes(random, content) if random.random() < 0.7 else content


def some_text(random: Random) -> str:
    """Return one or two random tokens."""
    return "".join(random.choices(TOKENS, k=random.randint(1, 2)))


def csv_list(random: Random) -> bytes:
    """Return a changed list in CSV."""
    columns = random.choice(
        (("image", "labels"), ("image", "labels", "truth"), ("labels", "image"), ("image", "image"))
    )
    rows = [[_cell(random, column) for column in columns] for _ in range(random.randint(0, 6))]
    return changed_text(random, "\n".join(",".join(row) for row in (columns, *rows)))


def _cell(random: Random, column: str) -> str:
    if random.random() < 0.2:
        return some_text(random)
    return random.choice(PHOTOS) if column == "image" else ";".join(random.choices(NAMES, k=random.randint(0, 2)))


def text_list(random: Random) -> bytes:
    """Return a changed text list."""
    separator = random.choice(("\t", " "))
    lines = [f"{_cell(random, 'image')}{separator}{_cell(random, 'labels')}" for _ in range(random.randint(0, 6))]
    return changed_text(random, "\n".join(lines))


def parquet_list(random: Random) -> bytes:
    """Return a list in Parquet with columns of random types, or with damaged bytes."""
    rows = random.randint(0, 6)
    names = random.choice(
        (("image", "labels"), ("image", "labels", "truth"), ("image", "labels", "labels"), ("image",))
    )
    columns = [_column(random, name, rows) for name in names]
    sink = io.BytesIO()
    table = pyarrow.table(columns, names=list(names))
    pyarrow.parquet.write_table(table, sink, row_group_size=random.choice((1, 2, 100)), compression="none")
    return changed_bytes(random, sink.getvalue()) if random.random() < 0.4 else sink.getvalue()


def _column(random: Random, name: str, rows: int) -> pyarrow.Array:
    texts = [_cell(random, name) for _ in range(rows)]
    raw = [random.choice((None, text.encode(), text.encode("utf-16"), random.randbytes(3))) for text in texts]
    kinds: tuple[Callable[[], pyarrow.Array], ...] = (
        lambda: pyarrow.array(texts, pyarrow.string()),
        lambda: pyarrow.array(texts, pyarrow.large_string()).dictionary_encode(),
        lambda: pyarrow.array([[text] for text in texts], pyarrow.list_(pyarrow.string())),
        lambda: pyarrow.array(raw, pyarrow.binary()).view(pyarrow.string()),
        lambda: pyarrow.array(raw, pyarrow.binary()),
        lambda: pyarrow.array([random.choice((None, -1, 1, 2**60)) for _ in texts], pyarrow.int64()),
        lambda: pyarrow.array([random.choice((None, 1.0, float("nan"), 1e300)) for _ in texts], pyarrow.float64()),
        lambda: pyarrow.array([{"a": text} for text in texts], pyarrow.struct([("a", pyarrow.string())])),
        lambda: pyarrow.array([[[1]] for _ in texts], pyarrow.list_(pyarrow.list_(pyarrow.int8()))),
        lambda: pyarrow.array([random.randrange(2**62) for _ in texts], pyarrow.timestamp("ns")),
        lambda: pyarrow.nulls(rows),
    )
    weights = (20, *[1] * (len(kinds) - 1))
    return random.choices(kinds, weights)[0]()


def coco_file(random: Random) -> bytes:
    """Return an annotation file in which random values are replaced."""
    images = [{"id": n, "file_name": name, "width": 4, "height": 3} for n, name in enumerate(PHOTOS)]
    annotations = [{"id": n, "image_id": n % 4, "category_id": n % 3, "bbox": [0, 0, 1, 1]} for n in range(6)]
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES[:3])]
    document: Any = {"images": images, "annotations": annotations, "categories": categories}
    for _ in range(random.randint(0, 3)):
        document = _replaced(random, document)
    return changed_text(random, json.dumps(document)) if random.random() < 0.3 else json.dumps(document).encode()


def _replaced(random: Random, value: Any) -> Any:
    """Return a copy of a JSON value in which a random part has another value."""
    if isinstance(value, dict | list) and value and random.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        chosen = random.choice(keys)
        items = {key: _replaced(random, value[key]) if key == chosen else value[key] for key in keys}
        return items if isinstance(value, dict) else list(items.values())
    others: tuple[Any, ...] = (
        None,
        True,
        [],
        {},
        0,
        1,
        -1,
        0.5,
        1.0,
        float("nan"),
        float("inf"),
        10**300,
        "\ud800",
        [[1]],
    )
    return random.choice((*others, value, [value], {"id": value}, some_text(random)))


def coco_list(random: Random) -> bytes:
    """Return a changed text list with class ids."""
    lines = [f"{random.choice(PHOTOS)} {random.choice(('0', '3', '1 2', '9', some_text(random)))}" for _ in range(5)]
    return changed_text(random, "\n".join(lines))


def voc_split(random: Random) -> bytes:
    """Return a changed split file."""
    lines = [random.choice(("a", "b", "a 1", "/JPEGImages/b.jpg /SegmentationClass/b.png", some_text(random)))]
    return changed_text(random, "\n".join(lines * random.randint(0, 3)))


def voc_annotation(random: Random) -> bytes:
    """Return a changed annotation."""
    tags = ("object", "Object", "name", "annotation", "part", "bndbox", "size", "width", some_text(random))
    xml = "<size><width>4</width><height>3</height></size><object><name>dog</name></object>"
    for _ in range(random.randint(0, 2)):
        tag = random.choice(tags)
        xml = random.choice((f"<{tag}>{xml}</{tag}>", f"{xml}<{tag}>dog</{tag}>", f"{xml}<{tag}/>"))
    encoding = random.choice(("", *(f'<?xml version="1.0" encoding="{name}"?>' for name in ENCODINGS)))
    return changed_text(random, f"{encoding}<annotation>{xml}</annotation>")


def vocabulary_file(random: Random) -> bytes:
    """Return a vocabulary in which random values are replaced."""
    classes = [{"name": name, "aliases": [f"{name}s"], "colour": [1, 2, n]} for n, name in enumerate(NAMES)]
    document: Any = {"background_words": ["sky", "grass"], "classes": classes}
    for _ in range(random.randint(0, 3)):
        document = _replaced(random, document)
    return changed_text(random, json.dumps(document, indent=random.choice((None, 1))))  # JSON is YAML
