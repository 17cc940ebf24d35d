"""A written report, parsed as a browser would: elements with their attributes and text."""

import base64
import hashlib
import io
from dataclasses import dataclass, field
from html.parser import HTMLParser

from PIL import Image

VOID = {"meta", "img", "br", "link", "input"}


@dataclass
class Element:
    """An element and everything in it."""

    tag: str
    attributes: dict[str, str]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text that a reader sees, with collapsed white space."""
        return " ".join("".join(self._texts()).split())

    def _texts(self):
        for child in self.children:
            yield from [child] if isinstance(child, str) else [*child._texts(), " "]

    def all(self, tag: str | None = None, having: str | None = None) -> list["Element"]:
        """Return the descendants with this tag that have an attribute or a CSS class named `having`."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                classes = child.attributes.get("class", "").split()
                if tag in (None, child.tag) and (having is None or having in child.attributes or having in classes):
                    found.append(child)
                found += child.all(tag, having)
        return found

    def one(self, tag: str | None = None, having: str | None = None) -> "Element":
        """Return the only such descendant."""
        (found,) = self.all(tag, having)
        return found

    def values(self) -> list[float]:
        """Return the exact numbers of the <data> elements beneath, which the text rounds."""
        return [float(each.attributes["value"]) for each in self.all("data")]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].children.append(data)


def parsed(html: str) -> Element:
    """Parse a document, and check that its elements are closed in the right order."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert len(parser.open) == 1, f"not closed: {[each.tag for each in parser.open[1:]]}"
    return parser.open[0]


def section(page: Element, name: str) -> Element | None:
    """Return the section with this id; None if the report does not have it."""
    found = [each for each in page.all("section") if each.attributes.get("id") == name]
    return found[0] if found else None


def cards(page: Element) -> dict[str, Element]:
    """Return image_id -> card of the gallery."""
    return {card.attributes["data-photo"]: card for card in page.all("article")}


def groups(page: Element) -> dict[str, list[str]]:
    """Return the groups of the gallery with the image ids in each."""
    found = page.all("div", having="data-group")
    return {each.attributes["data-group"]: list(cards(each)) for each in found}


def titles(element: Element) -> list[str]:
    """Return the captions of the pictures in an element."""
    return [caption.text for caption in element.all("figcaption")]


def notes(page: Element) -> str:
    """Return the text of the summary section."""
    return section(page, "summary").text


def picture(image: Element) -> Image.Image:
    """Decode the picture of an <img>."""
    head, data = image.attributes["src"].split(",", 1)
    assert head in ("data:image/webp;base64", "data:image/png;base64")
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def check_stands_alone(page: Element) -> None:
    """Check that the page loads no other file, runs only its own script, and knows the size of every image."""
    (script,) = page.all("script")
    assert script.attributes == {}
    (policy,) = [each.attributes for each in page.all("meta") if "http-equiv" in each.attributes]
    digest = base64.b64encode(hashlib.sha256("".join(script.children).encode()).digest()).decode()
    assert (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        in policy["content"]
    )
    for element in page.all():
        assert element.tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name, value in element.attributes.items():
            assert not name.startswith("on")
            if name == "src":
                assert value.startswith(("data:image/webp;base64,", "data:image/png;base64,"))
            elif name == "href":
                assert value.startswith(("#", "file:///"))
            assert "url(" not in value
    assert all(int(image.attributes[side]) > 0 for image in page.all("img") for side in ("width", "height"))
    assert all("@import" not in style.text and "url(" not in style.text for style in page.all("style"))
