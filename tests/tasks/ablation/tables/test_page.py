import pytest
from support.report_pages import parsed, section

from clipes.tasks.ablation.tables.page import page
from clipes.tasks.ablation.tables.table import table_of


@pytest.fixture
def written(refinements):
    return parsed(page(table_of(refinements)))


def chart(element, figure):
    (found,) = [each for each in element.all("table") if each.attributes.get("data-figure") == figure]
    return found.one("tbody").all("tr")


def test_bars_show_the_mean_the_spread_the_paper_and_the_difference(written):
    mhsa, caa = chart(section(written, "figures"), "refined_cam")
    assert [row.values() for row in (mhsa, caa)] == [[pytest.approx(42)], [pytest.approx(43)]]
    assert caa.one("i").attributes["style"] == "width:43.0%"
    assert caa.one("u").attributes["style"] == "left:41.0%;width:5.0%"
    assert caa.one("b").attributes["style"] == "left:70.8%"
    assert caa.one("td", having="up").text == "+1.0"
    assert mhsa.attributes["class"] == "own"
    assert "reference" in mhsa.text
    _, worse = chart(section(written, "figures"), "pseudo_mask")
    assert worse.one("td", having="down").text == "−1.0"


def test_a_lower_time_is_better_and_the_longest_bar_is_full(result_of):
    times = {
        label: [{"stages": {"cams": {"seconds_per_row": value}}}] for label, value in {"A": 0.04, "B": 0.01}.items()
    }
    slow, quick = chart(parsed(page(table_of(result_of(times, show=["cams.seconds"])))), "cams.seconds")
    assert slow.one("i").attributes["style"] == "width:100.0%"
    assert quick.one("i").attributes["style"] == "width:25.0%"
    assert quick.one("td", having="up").text == "−30.0"


def test_classes_have_a_section_of_their_own(written):
    assert [row.values() for row in chart(section(written, "classes"), "refined_cam.boat")] == [[25.0], [25.0]]


def test_the_summary_states_agreement_and_disagreement(written):
    summary = section(written, "summary")
    assert summary.one("li", having="warn").text.startswith("Disagrees with the paper: pseudo mask: MHSA < CAA")
    assert "3 of 4 pairs of numbers" in summary.text
    assert "The paper says so." in summary.text


def test_each_run_links_its_report_and_names_its_seed(result_of):
    result = result_of({"A & B": [{"sharpness": 0.1}, "no <photo>"]}, show=["sharpness"])
    element = parsed(page(table_of(result)))
    first, second = section(element, "runs").all("li")
    assert first.one("a").attributes["href"] == "../demo-table-A & B-0/report.html"
    assert "dataset.seed=0" in first.text
    assert not second.all("a")
    assert "failed" in second.text
    assert "no <photo>" in section(element, "summary").one("li", having="bad").text


def test_the_page_loads_nothing(written):
    (policy,) = [each.attributes["content"] for each in written.all("meta") if "http-equiv" in each.attributes]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not any(written.all(tag) for tag in ("script", "link", "img", "iframe", "form"))
    assert all("url(" not in style.text and "@import" not in style.text for style in written.all("style"))
    assert all(link.attributes["href"].startswith(("#", "../")) for link in written.all("a"))


def test_templates_are_plotted_by_their_sharpness(result_of):
    numbers = {"A": (0.1, 0.4), "B": (0.2, 0.3)}
    metrics = {label: [{"sharpness": x, "initial_cam": {"miou": y}}] for label, (x, y) in numbers.items()}
    plotted = section(parsed(page(table_of(result_of(metrics, show=["sharpness", "initial_cam"])))), "sharpness")
    places = [(each.attributes["cx"], each.attributes["cy"], each.text) for each in plotted.all("circle")]
    assert places == [("50.0", "20.0", "A"), ("280.0", "160.0", "B")]
    assert [each.text for each in plotted.all("text")] == ["40.0", "30.0", "0.1000", "0.2000", "sharpness"]
