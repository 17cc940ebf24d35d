"""The viewer of the report in a real browser."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from support.browser import opened
from support.viewer_pages import PHONE, WIDE, open_first, open_masked, pixels, pressed, shown_cards, title, zoom_of


def test_a_click_opens_a_photo_and_escape_closes_it(page):
    photo = open_first(page)
    assert title(page) == photo
    assert page.locator("#viewer").get_attribute("aria-labelledby") == "viewer-title"
    assert page.evaluate("document.activeElement.className") == "stage"
    assert np.ptp(pixels(page)) > 100  # it is not blank
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    assert page.evaluate("document.activeElement.closest('article').dataset.photo") == photo


def test_enter_opens_a_card_and_the_arrows_lead_to_its_neighbours(wide):
    cards = wide.locator("#gallery article")
    ids = [cards.nth(place).get_attribute("data-photo") for place in range(6)]
    cards.first.locator(".pictures").first.focus()
    wide.keyboard.press("Enter")
    assert title(wide) == ids[0]
    wide.keyboard.press("ArrowRight")
    assert title(wide) == ids[1]
    assert "2 of 6" in wide.locator("#viewer .place").inner_text()
    for _ in range(2):
        wide.keyboard.press("ArrowLeft")
    assert title(wide) == ids[-1]
    wide.locator("[data-do=next]").click()
    assert title(wide) == ids[0]
    wide.keyboard.press("ArrowLeft")
    wide.locator("[data-do=close]").click()
    assert wide.evaluate("document.activeElement.closest('article').dataset.photo") == ids[-1]
    assert shown_cards(wide)[-1] == ids[-1]  # its group was folded


def test_keys_choose_what_is_shown(page):
    open_masked(page)
    assert pressed(page, ".layers button") == ["Mask"]
    mask = pixels(page)
    for key, layer in (("c", "CAM"), ("t", "Truth"), ("k", "Confidence"), ("e", "Errors"), ("m", "Mask")):
        page.keyboard.press(key)
        assert pressed(page, ".layers button") == [layer]
    assert (pixels(page) == mask).all()
    page.keyboard.press("m")
    assert pressed(page, ".layers button") == ["Photo"]
    with_outlines = pixels(page)
    page.keyboard.press("o")
    assert pressed(page, "[data-do=outlines]") == []
    assert (pixels(page) != with_outlines).any()


def test_keys_work_wherever_the_focus_is(wide):
    open_first(wide)
    wide.locator("#viewer-title").click()
    wide.keyboard.press("c")
    assert pressed(wide, ".layers button") == ["CAM"]
    wide.locator("#viewer [name=opacity]").focus()
    wide.keyboard.press("ArrowRight")  # moves the slider of the opacity
    assert wide.locator("#viewer [name=opacity]").input_value() == "56"
    wide.keyboard.press("t")
    assert pressed(wide, ".layers button") == ["Truth"]


def test_more_opacity_hides_more_of_the_photo(wide):
    open_masked(wide)
    wide.keyboard.press("o")
    shown = {}
    for opacity in (0, 50, 100):
        wide.locator("#viewer [name=opacity]").fill(str(opacity))
        shown[opacity] = pixels(wide)
    wide.keyboard.press("p")
    photo = pixels(wide)
    assert (shown[0] == photo).all()
    assert 0 < np.abs(shown[50] - photo).sum() < np.abs(shown[100] - photo).sum()


def test_the_error_map_states_the_share_of_each_error(page, scenes_made, scene_photos):
    photo = open_masked(page)
    page.keyboard.press("e")
    shares = {
        kind: float(page.locator(f"#viewer [data-error={kind}] strong").inner_text().rstrip("%"))
        for kind in ("missed", "false", "wrong")
    }
    mask = np.array(Image.open(io.BytesIO(scenes_made.rows("masks")[photo]["mask_png"])))
    truth = np.array(Image.open(scene_photos / "SegmentationClass" / f"{photo}.png"))
    known = truth != 255
    expected = {
        "missed": (mask == 0) & (truth > 0) & known,
        "false": (mask > 0) & (truth == 0),
        "wrong": (mask > 0) & (truth > 0) & (mask != truth) & known,
    }
    for kind, where in expected.items():
        assert shares[kind] == pytest.approx(100 * where.sum() / known.sum(), abs=0.06), kind


def test_photos_zoom_by_keys_buttons_and_wheel_and_move(wide):
    open_masked(wide)
    fitted = pixels(wide)
    wide.keyboard.press("+")
    assert zoom_of(wide) == 150
    wide.locator("[data-do=enlarge]").click()
    assert zoom_of(wide) == 225
    wide.keyboard.press("-")
    assert zoom_of(wide) == 150
    wide.keyboard.press("0")
    assert zoom_of(wide) == 100
    assert (pixels(wide) == fitted).all()

    box = wide.locator("#viewer .stage").bounding_box()
    at = box["x"] + box["width"] / 2 + 100, box["y"] + box["height"] / 2 + 60
    below = round(box["height"] / 2 + 60), round(box["width"] / 2 + 100)
    wide.mouse.move(*at)
    wide.mouse.wheel(0, -800)
    enlarged = pixels(wide)
    assert zoom_of(wide) > 200
    np.testing.assert_allclose(enlarged[below], fitted[below], atol=40)  # the same place of the photo
    wide.mouse.down()
    wide.mouse.move(at[0] - 80, at[1] - 40, steps=4)
    wide.mouse.up()
    moved = pixels(wide)
    overlap = enlarged[60:500, 300:900], moved[20:460, 220:820]
    assert np.abs(overlap[0] - overlap[1]).mean() < 12


def test_two_fingers_zoom(browser, report):
    with opened(browser, report, PHONE) as page:
        open_first(page)
        touch = page.context.new_cdp_session(page)

        def fingers(kind, *xs):
            points = [{"x": x, "y": 300, "id": number} for number, x in enumerate(xs)]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        fingers("touchStart", 190, 230)
        for apart in (30, 50, 80):
            fingers("touchMove", 210 - apart, 210 + apart)
        fingers("touchEnd")
        assert 300 < zoom_of(page) < 500


def test_side_by_side_shows_every_picture_and_keys_hide_them(page):
    open_first(page)
    page.keyboard.press("2")
    captions = page.locator("#viewer .caption")
    assert captions.all_inner_texts() == ["Photo", "CAM", "Mask", "Truth", "Confidence", "Errors"]
    assert all(np.ptp(pixels(page, panel)) > 60 for panel in range(6))
    page.keyboard.press("k")
    assert captions.all_inner_texts() == ["Photo", "CAM", "Mask", "Truth", "Errors"]
    page.keyboard.press("+")
    page.locator("#viewer [data-mode=one]").click()
    assert zoom_of(page) == 150  # the place stays the same


def test_the_slider_divides_two_pictures(wide):
    open_masked(wide)
    wide.keyboard.press("o")
    wide.keyboard.press("p")
    photo = pixels(wide)
    wide.keyboard.press("m")
    mask = pixels(wide)
    wide.keyboard.press("3")
    wide.locator("#viewer .divider").fill("40")
    both = pixels(wide)
    middle = round(0.4 * both.shape[1])
    assert (both[:, : middle - 30] == photo[:, : middle - 30]).all()
    assert (both[:, middle + 30 :] == mask[:, middle + 30 :]).all()
    wide.locator("#viewer [name=left]").select_option("confidence")
    assert (pixels(wide)[:, : middle - 30] != photo[:, : middle - 30]).any()
    assert wide.locator("#viewer .caption").all_inner_texts() == ["Confidence", "Mask"]


def test_the_handle_of_the_slider_can_be_dragged(wide):
    open_first(wide)
    wide.keyboard.press("3")
    box = wide.locator("#viewer .stage").bounding_box()
    middle = box["y"] + box["height"] / 2
    wide.mouse.move(box["x"] + box["width"] / 2, middle)
    wide.mouse.down()
    wide.mouse.move(box["x"] + box["width"] / 4, middle, steps=3)
    wide.mouse.up()
    assert wide.locator("#viewer .divider").input_value() == "25"
    assert zoom_of(wide) == 100


def test_the_help_lists_the_keys(page):
    open_first(page)
    page.keyboard.press("?")
    assert "outlines" in page.locator("#viewer .help").inner_text()
    page.keyboard.press("?")
    assert not page.locator("#viewer .help").is_visible()


def test_an_old_browser_says_that_it_cannot_show_a_photo(browser, report):
    with browser.new_page() as page:
        page.add_init_script("delete window.DecompressionStream")
        page.goto(report.as_uri())
        page.locator("#gallery article .pictures").first.click()
        failure = page.locator("#viewer .stage .failure")
        failure.wait_for()
        assert failure.inner_text() == "This browser cannot show the photo: use one of the year 2023 or later."
        page.keyboard.press("Escape")
        assert page.locator("#gallery article .failure").first.is_visible()


def test_a_damaged_picture_is_reported_and_other_photos_still_open(browser, report, tmp_path):
    head, found, tail = report.read_text().partition('<div class="cards" data-group="to_check">')
    tail = re.sub(r'(data-role="mask"><img src="data:image/png;base64,.{40})[^"]*', r"\1", tail, count=1)
    (tmp_path / "damaged.html").write_text(head + found + tail)
    with opened(browser, tmp_path / "damaged.html", WIDE) as page:
        page.locator("#gallery article .pictures").first.click()
        failure = page.locator("#viewer .stage .failure")
        failure.wait_for()
        assert "write the report again with clipes report" in failure.inner_text()
        page.keyboard.press("ArrowRight")
        page.locator("#viewer .panel canvas").first.wait_for()
        assert not failure.is_visible()


def test_two_classes_of_a_photo_differ_in_the_browser(wide):
    styles = wide.evaluate("[...document.querySelectorAll('article')].map((card) => JSON.parse(card.dataset.styles))")
    assert any(len(each) > 1 for each in styles)
    for each in styles:
        looks = [(*style["colour"], style["pattern"]) for style in each.values()]
        assert len(set(looks)) == len(looks)
