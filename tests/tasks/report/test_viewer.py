"""The report in a real browser: the viewer, the search in the gallery, and the files next to the page."""

import base64
import io
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.browser import open_browser, opened
from support.prepared import prepare_run
from support.report_runs import write_run_files
from support.web_server import flaky_files, serve

from clipes.tasks.report.report_file import write_report
from clipes_core.config.run import parse_config

WIDE, PHONE = 1280, 420
TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
PIXELS = """(panel) => document.querySelectorAll("#viewer .panel canvas")[panel].toDataURL()"""


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(scenes_made):
    """Return the path of the report of nine scenes: six in the gallery, three in a file next to it."""
    config = scenes_made.run.config.model_dump(mode="json")
    values = {**config, "name": "viewer", "report": {"gallery": 6, "further": 3, "check": {"max_foreground": 0.0}}}
    made = replace(scenes_made, run=prepare_run(parse_config(values), "mask_scores"))
    return Path(write_report(write_run_files(made).config.store, "viewer"))


@pytest.fixture(scope="module")
def trained(scenes_trained):
    """Return the path of the report of nine scenes with a segmenter, which predicts the same scenes."""
    config = scenes_trained.run.config
    write_run_files(scenes_trained)
    return Path(write_report(config.store, config.name))


def with_copies(html, section, times):
    """Return a page in which each group of photos of a section has `times` as many photos, with ids of their own."""
    before, opening, rest = html.partition(f'<section id="{section}">')
    part, closing, after = rest.partition("</section>")
    for card in re.findall(r"<article .*?</article>", part, re.DOTALL):
        copies = (card.replace('data-photo="', f'data-photo="copy-{number}-') for number in range(1, times))
        part = part.replace(card, "\n".join([card, *copies]))
    return "".join((before, opening, part, closing, after))


@pytest.fixture(params=[WIDE, PHONE])
def page(browser, report, request):
    with opened(browser, report, request.param) as page:
        yield page


@pytest.fixture
def wide(browser, report):
    with opened(browser, report, WIDE) as page:
        yield page


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


def test_photos_are_found_by_id_class_and_measures(page):
    find, found = page.locator("#gallery .find"), page.locator("#gallery .found")
    cards = page.locator("#gallery article")
    mious = {each.get_attribute("data-photo"): float(each.get_attribute("data-miou")) for each in cards.all()}
    some = next(iter(mious))
    find.locator("[name=text]").fill(some.upper())
    assert shown_cards(page) == [some]
    assert found.locator("[role=status]").inner_text() == "1 of the 6 loaded photos; the run has 9"
    find.locator(".reset").click()
    assert not found.is_visible()

    find.locator("[name=order]").select_option("miou")
    assert shown_cards(page) == sorted(mious, key=mious.get)[: len(shown_cards(page))]
    limits = [each.get_attribute("value") for each in find.locator("[name=miou] option").all()[1:]]
    below = {most: sorted(name for name, miou in mious.items() if miou < float(most)) for most in limits}
    most = next(most for most, found in below.items() if 0 < len(found) < len(mious))
    find.locator("[name=miou]").select_option(most)
    assert sorted(shown_cards(page)) == below[most]
    find.locator(".reset").click()

    options = find.locator("[name=class] option")
    for place in range(1, options.count()):
        class_id = options.nth(place).get_attribute("value")
        find.locator("[name=class]").select_option(class_id)
        assert all(class_id in each.get_attribute("data-styles") for each in cards.all() if each.is_visible())
        assert shown_cards(page)


def test_photos_to_check_are_found_by_their_reason_and_ordered_by_suspicion(page):
    find = page.locator("#gallery .find")
    badge = page.locator("#gallery article .reasons li").first.get_attribute("data-reason")
    find.locator("[name=reason]").select_option(badge)
    shown = page.locator("#gallery article:visible")
    assert shown.count()
    assert all(each.locator(f"[data-reason='{badge}']").count() == 1 for each in shown.all())
    find.locator("[name=reason]").select_option("any")
    find.locator("[name=order]").select_option("severity")
    severities = [float(each.get_attribute("data-severity")) for each in shown.all()]
    assert severities == sorted(severities, reverse=True)
    assert severities[-1] > 0


def test_the_list_of_photos_to_check_opens_them(page):
    page.locator("#to-check summary").click()
    name = page.locator("#to-check .open").first
    photo = name.inner_text()
    name.click()
    assert title(page) == photo
    page.locator("#viewer .why").wait_for()  # the sentences of the reasons


def test_the_viewer_leads_through_the_photos_that_were_found(wide):
    wide.locator("#gallery [name=order]").select_option("-miou")
    first, second = shown_cards(wide)[:2]
    wide.locator("#gallery article:visible .pictures").first.click()
    assert title(wide) == first
    wide.keyboard.press("ArrowRight")
    assert title(wide) == second


def test_further_photos_are_loaded_from_the_file_next_to_the_page(page, report):
    assert [path.name for path in (report.parent / "report").iterdir()] == ["photos-0001.js"]
    further = page.locator("#gallery .further")
    assert "further photos in the folder report/ next to this page: 3" in further.inner_text()
    further.locator("button").first.click()
    further.locator("article").nth(2).wait_for()
    assert further.locator("[role=status]").inner_text() == "All further photos are loaded."
    further.locator(".pictures").first.click()
    page.locator("#viewer .panel canvas").first.wait_for()
    assert page.locator("#viewer .place").inner_text() == "7 of 9"
    page.keyboard.press("Escape")
    page.locator("#gallery [name=order]").select_option("photo")
    assert "9 of 9 photos" in page.locator("#gallery .found").inner_text()


def test_a_page_without_the_files_next_to_it_says_what_is_missing(browser, report, tmp_path):
    alone = shutil.copy(report, tmp_path / "mailed.html")
    with browser.new_page() as page:
        page.goto(Path(alone).as_uri())
        page.locator("#gallery .further button").first.click()
        status = page.locator("#gallery .further [role=status]")
        status.filter(has_text="could not be loaded").wait_for()
        assert "keep the folder report/ next to this page" in status.inner_text()


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_links_to_sections_lead_to_their_tops(browser, report, width):
    with opened(browser, report, width, "gallery") as page:
        top = "(id) => document.getElementById(id).getBoundingClientRect().top"
        page.wait_for_function(f"() => Math.abs(({top})('gallery')) < 2")
        page.locator("nav a[href='#stages']").click()
        page.wait_for_function(f"() => Math.abs(({top})('stages')) < 2")
        assert page.locator("#stages table").is_visible()


def test_the_page_of_a_large_run_is_short_on_a_phone_at_first(browser, trained, tmp_path):
    html = trained.read_text()
    for section in ("segmenter", "gallery"):
        html = with_copies(html, section, 3)
    html = re.sub(r'<li class="note .*?</li>', lambda note: 5 * note[0], html, count=1, flags=re.DOTALL)
    (tmp_path / "large.html").write_text(html)
    with opened(browser, tmp_path / "large.html", PHONE) as page:
        assert page.locator("#gallery article").count() >= 24
        assert page.locator("#segmenter article").count() >= 12
        assert page.locator("#summary .note").count() >= 5
        assert page.evaluate("document.documentElement.scrollHeight") <= 6000
        assert not page.locator("#gallery .cam").first.is_visible()


def test_suspects_open_their_mask_even_if_the_segmenter_predicts_the_same_photos(browser, trained):
    with opened(browser, trained, WIDE) as page:
        page.locator("#to-check summary").click()
        for line in page.locator("#to-check [data-suspect]").all():
            line.locator(".open").click()
            page.locator("#viewer .panel canvas").first.wait_for()
            assert page.locator("#viewer .why").count() == 1  # the prediction's card has no reasons
            assert title(page) == line.get_attribute("data-suspect")
            page.keyboard.press("Escape")


def test_a_suspect_beyond_the_gallery_is_loaded_when_it_is_opened(page):
    page.locator("#to-check summary").click()
    line = page.locator("#to-check [data-file]").last
    line.locator(".open").click()
    page.locator("#viewer .panel canvas").first.wait_for()
    assert title(page) == line.get_attribute("data-suspect")
    assert page.locator("#viewer .place").inner_text().endswith(" of 9")


def test_a_suspect_outside_of_the_selection_opens_among_all_photos(wide):
    wide.locator("#gallery [name=text]").fill("no such photo")
    assert shown_cards(wide) == []
    wide.locator("#to-check summary").click()
    line = wide.locator("#to-check li:not([data-file])[data-suspect]").first
    line.locator(".open").click()
    wide.locator("#viewer .panel canvas").first.wait_for()
    assert wide.locator("#viewer .place").inner_text() == "1 of 6"
    wide.keyboard.press("ArrowLeft")
    assert wide.locator("#viewer .place").inner_text() == "6 of 6"
    assert title(wide) != line.get_attribute("data-suspect")


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


def test_a_card_links_its_photo_and_its_mask(wide):
    card = wide.locator("#gallery article").first
    card.locator("summary").click()
    assert card.locator(".files a").first.get_attribute("href").startswith("file:///")
    with wide.expect_download() as download:
        card.locator(".files a[download]").click()
    assert download.value.suggested_filename == f"{card.get_attribute('data-photo')}-mask.png"
    shown = card.locator("[data-role=mask] img")
    size = tuple(int(shown.get_attribute(side)) for side in ("width", "height"))
    assert Image.open(download.value.path()).size == size


def test_a_page_from_a_server_shows_the_path_of_the_photo_instead_of_a_dead_link(browser, report):
    files = flaky_files({"/report.html": report.read_bytes()}, every=0)
    with serve(files) as root, browser.new_page() as page:
        page.goto(f"{root}/report.html")
        card = page.locator("#gallery article").first
        card.locator("summary").click()
        assert card.locator(".files a[href^='file:']").count() == 0
        assert card.locator(".files code").first.inner_text().endswith(f"{card.get_attribute('data-photo')}.jpg")
        page.locator("#gallery .further button").first.click()
        page.locator("#gallery .further [role=status]").filter(has_text="open the report again").wait_for()


def test_two_classes_of_a_photo_differ_in_the_browser(wide):
    styles = wide.evaluate("[...document.querySelectorAll('article')].map((card) => JSON.parse(card.dataset.styles))")
    assert any(len(each) > 1 for each in styles)
    for each in styles:
        looks = [(*style["colour"], style["pattern"]) for style in each.values()]
        assert len(set(looks)) == len(looks)
