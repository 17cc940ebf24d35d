"""Read the labels in an annotation file of PASCAL VOC."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from xml.etree import ElementTree

from clipes_core.errors import ErrorKind, PhotoError

# Expat, the parser of the standard library, knows no encodings that use several bytes for a character, except UTF-8 and
# UTF-16. These are the names that Python gives to the common ones.
MULTIBYTE_ENCODINGS = (
    "gb2312",
    "gbk",
    "gb18030",
    "big5",
    "big5hkscs",
    "euc_jp",
    "shift_jis",
    "cp932",
    "euc_kr",
    "cp949",
)
DECLARATION = re.compile(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
LABEL_TAGS = ("object", "bndbox")


@dataclass(frozen=True, slots=True)
class Annotation:
    """The content of an annotation file.

    Attributes:
        names: class names of the objects, in the file's order, including repetitions. Parts of objects are left out.
        stated_size: width and height [px]; None if the file does not state both.
    """

    names: tuple[str, ...]
    stated_size: tuple[int, int] | None


def parse_annotation(xml: bytes) -> Annotation:
    """Parse a VOC annotation file.

    Args:
        xml: content of the annotation file.

    Raises:
        PhotoError: UNREADABLE_LABELS; the XML is broken, is not a VOC annotation, has an object without a name or with
            several names, has an object that is not directly below the root, or has a DOCTYPE. A DOCTYPE is refused
            because it could declare entities that expand without limit.
    """
    try:
        root = _parse(xml)
    except (ElementTree.ParseError, LookupError, ValueError) as exc:
        raise unreadable(f"broken XML: {exc}{_encoding_hint(xml)}") from exc
    if root.tag != "annotation":
        raise unreadable(f"the XML's root is <{root.tag}>, expected <annotation>")
    for tag in _misplaced_tags(root):
        raise unreadable(f"the XML has a <{tag}> outside <annotation><object>; write each object as <object> there")
    return Annotation(tuple(map(_name, root.findall("object"), count(1))), _stated_size(root))


def unreadable(reason: str) -> PhotoError:
    """Return the error of a photo whose labels cannot be read."""
    return PhotoError(ErrorKind.UNREADABLE_LABELS, reason)


def _parse(xml: bytes) -> ElementTree.Element:
    declared = DECLARATION.match(xml)
    encoding = codecs.lookup(declared[1].decode()).name if declared else ""
    if encoding not in MULTIBYTE_ENCODINGS:
        return ElementTree.fromstring(xml, ElementTree.XMLParser(target=_TreeWithoutDoctype()))
    text = xml.decode(encoding).encode()
    return ElementTree.fromstring(text, ElementTree.XMLParser(target=_TreeWithoutDoctype(), encoding="utf-8"))


def _encoding_hint(xml: bytes) -> str:
    try:
        xml.decode()
    except UnicodeDecodeError:
        return "" if DECLARATION.match(xml) else "; if the file is not UTF-8, declare its encoding in its first line"
    return ""


def _name(thing: ElementTree.Element, number: int) -> str:
    names = [(name.text or "").strip() for name in thing.findall("name")]
    if len(names) > 1:
        raise unreadable(f"object {number} has {len(names)} names; write an <object> for each of them")
    if not any(names):
        raise unreadable(f"object {number} has no name")
    return names[0]


def _misplaced_tags(root: ElementTree.Element) -> Iterator[str]:
    """Yield the tags of objects and boxes that are not in an `<object>` directly below the root, in any case."""
    elements = [element for element in root if element.tag != "object"]
    while elements:
        element = elements.pop()
        if element.tag.rpartition("}")[2].casefold() in LABEL_TAGS:
            yield element.tag
        elements.extend(element)


def _stated_size(root: ElementTree.Element) -> tuple[int, int] | None:
    sides = [(root.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    if not all(side.isascii() and side.isdecimal() and len(side) < 10 for side in sides):
        return None
    width, height = map(int, sides)
    return (width, height) if width and height else None


class _TreeWithoutDoctype(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise unreadable(f"the XML has a DOCTYPE ({name}), which is not allowed in annotations")
