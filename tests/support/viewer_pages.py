"""What the viewer and the gallery of a report in a browser show."""

import base64
import io

import numpy as np
from PIL import Image

WIDE, PHONE = 1280, 420
TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
PIXELS = """(panel) => document.querySelectorAll("#viewer .panel canvas")[panel].toDataURL()"""


def open_first(page):
    """Open the first photo that the gallery shows; return its id once it is drawn."""
    card = page.locator("#gallery article:visible").first
    card.locator(".pictures").first.click()
    page.locator("#viewer .panel canvas").first.wait_for()
    return card.get_attribute("data-photo")


def open_masked(page):
    """Find a photo whose mask has an object, and open it; return its id once it is drawn."""
    card = page.locator("#gallery article:has([data-role=mask] img[data-ids*=' '])").first
    page.locator("#gallery [name=text]").fill(card.get_attribute("data-photo"))
    return open_first(page)


def zoom_of(page):
    """Return the zoom that the viewer states once it has drawn the photo [%]."""
    page.evaluate(TWO_FRAMES)
    return int(page.locator("#viewer .zoom").inner_text().rstrip("%"))


def title(page):
    return page.locator("#viewer-title").inner_text()


def pixels(page, panel=0):
    """Return what a panel shows now, as (H, W, 3) RGB."""
    page.evaluate(TWO_FRAMES)
    data = page.evaluate(PIXELS, panel).partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def pressed(page, selector):
    found = page.locator(f"#viewer {selector}[aria-pressed=true]")
    return [found.nth(place).inner_text() for place in range(found.count())]


def shown_cards(page):
    found = page.locator("#gallery article:visible")
    return [found.nth(place).get_attribute("data-photo") for place in range(found.count())]
