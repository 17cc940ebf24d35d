"""The gallery of the report in a real browser: search, photos to check, files next to the page, and links."""

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from support.browser import opened
from support.viewer_pages import PHONE, WIDE, shown_cards, title
from support.web_server import flaky_files, serve


def with_copies(html, section, times):
    """Return a page in which each group of photos of a section has `times` as many photos, with ids of their own."""
    before, opening, rest = html.partition(f'<section id="{section}">')
    part, closing, after = rest.partition("</section>")
    for card in re.findall(r"<article .*?</article>", part, re.DOTALL):
        copies = (card.replace('data-photo="', f'data-photo="copy-{number}-') for number in range(1, times))
        part = part.replace(card, "\n".join([card, *copies]))
    return "".join((before, opening, part, closing, after))


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
