"""Bad annotations and bad lines of a split, all in one data set in VOC's layout."""

from dataclasses import dataclass
from pathlib import Path

from support.input_cases.photos import GOOD

LIMIT = 11 << 20


def annotation(*names: str, size: tuple[int, int] | None = None) -> bytes:
    """Return a VOC annotation with an object for each name."""
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    objects = "".join(f"<object><name>{name}</name></object>" for name in names)
    return f"<annotation>{stated}{objects}</annotation>".encode()


def expanding() -> bytes:
    """Return an annotation with ten levels of ten entities each, which would expand to 10 GB."""
    entities = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 11))
    name = "<object><name>&e10;</name></object>"
    return f'<!DOCTYPE a [<!ENTITY e0 "dog">{entities}]><annotation>{name}</annotation>'.encode()


def referring(address: str) -> bytes:
    """Return an annotation with a document type and an entity at an external address."""
    name = "<object><name>&x;</name></object>"
    return f'<!DOCTYPE a SYSTEM "{address}" [<!ENTITY x SYSTEM "{address}">]><annotation>{name}</annotation>'.encode()


@dataclass(frozen=True)
class Line:
    """A line of the split, and the annotation of its photo.

    Attributes:
        text: text of the line; several lines if the case needs them.
        image_id: id of the photo in masks and rejects.
        xml: content of the annotation; None if the file does not exist.
    """

    text: str
    image_id: str
    xml: bytes | None


def listed(name: str, xml: bytes | None) -> Line:
    """Return a line with only an image id."""
    return Line(name, name, xml)


def lines(address: str) -> dict[tuple[str, str], Line]:
    """Return all lines of the split.

    Args:
        address: address to which one annotation refers; the test notices if clipes fetches it.
    """
    dog = annotation("dog")
    labels = {
        "missing annotation": listed("none", None),
        "broken XML": listed("broken", dog[:-9]),
        "web page named .xml": listed("page", b"<html><title>404 Not Found</title></html>"),
        "XML of 11 MB": listed("huge", dog.replace(b"><object", b">" + b" " * LIMIT + b"<object")),
        "XML with entities that expand exponentially": listed("bomb", expanding()),
        "XML that refers to an external address": listed("refers", referring(address)),
        "object without a name": listed("nameless", b"<annotation><object/></annotation>"),
        "XML without objects": listed("empty", annotation()),
        "class that is not in the vocabulary": listed("giraffe", annotation("dog", "giraffe")),
        "class name in the wrong case": listed("Dog", annotation("Dog")),
        "XML that states a wrong photo size": listed("size", annotation("dog", size=(640, 480))),
    }
    lists = {
        "id that an earlier line already has": Line("twice\r\ntwice", "twice", dog),
        "id with spaces": listed("my old photo", dog),
        "byte order mark, blank lines, Windows line endings": listed("plain", dog),
    }
    groups = {"Labels": labels, "Lists": lists}
    return {(group, given): line for group, these in groups.items() for given, line in these.items()}


def write_voc_data_set(root: Path, split: dict[tuple[str, str], Line]) -> None:
    """Write photos, annotations and the split `bad`, which has a byte order mark and Windows line endings."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for line in split.values():
        GOOD(root / "JPEGImages" / f"{line.image_id}.jpg")
        if line.xml is not None:
            (root / "Annotations" / f"{line.image_id}.xml").write_bytes(line.xml)
    text = "\ufeff" + "\r\n \r\n\r\n".join(line.text for line in split.values())
    (root / "ImageSets" / "Segmentation" / "bad.txt").write_bytes(text.encode())
