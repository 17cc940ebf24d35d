"""A real browser without a window and without a network, which opens pages from the disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LOCAL = ("file:", "data:")
MESSAGE = "needs Chromium: `make browser` installs it on Debian"


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium; skip the test, or fail it in CI, if Chromium is not installed."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI"):
        pytest.fail(MESSAGE)
    if found is None:
        pytest.skip(MESSAGE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*ARGUMENTS])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, path: Path, width: int, anchor: str = "") -> Iterator[Page]:
    """Open a page from the disk.

    After the block, check that the page has reported no error, that it has asked for nothing but files, and that it is
    not wider than the window.

    Args:
        browser: the browser.
        path: path of the page.
        width: width of the window [px].
        anchor: id of the part that the address names.
    """
    problems: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        has_touch=width < 600,
        reduced_motion="reduce",  # the page then jumps instead of scrolling, so no click meets a moving page
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith(LOCAL) else problems.append(request.url))
    try:
        page.goto(path.as_uri() + (f"#{anchor}" if anchor else ""))
        yield page
        assert problems == []
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    finally:
        context.close()
