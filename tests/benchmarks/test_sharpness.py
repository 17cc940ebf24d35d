import sys
from pathlib import Path

import pytest

from clipes_core.demo.template_uses import TemplateUse

ROOT = Path(__file__).parents[2]


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import sharpness

    yield sharpness
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
        del sys.modules[name]


@pytest.fixture
def found(results):
    """Return two seeds with five templates. Sharpness falls with the weight, and the mIoU rises with it."""
    uses = [
        TemplateUse("a clean origami {}.", weight=64),
        TemplateUse("one {}.", weight=64, single=True),
        TemplateUse("some {}.", weight=8, reliability=0.5),
        TemplateUse("a {}.", weight=1),
        TemplateUse("no {}.", weight=0),
    ]
    sharpness, miou = (0.02, 0.01, 0.03, 0.04, 0.05), (0.48, 0.50, 0.46, 0.44, 0.30)
    of_seed = {
        use: results.Measured(sharp, 0.5, score / 2, score)
        for use, sharp, score in zip(uses, sharpness, miou, strict=True)
    }
    return {0: of_seed, 7: of_seed}


def test_the_template_of_lowest_sharpness_is_compared_with_the_others(results, found):
    *_, zero, seven = results.seed_table(found)
    cells = ["-1.00, -1.00", "-1.00, -1.00", "50.0 (`one {}.`)", "50.0 (`one {}.`)", "46.0", "48.0"]
    assert zero == f"| 0 | {' | '.join(cells)} |"
    assert seven == f"| 7 | {' | '.join(cells)} |"


def test_unreliable_templates_are_left_out_on_request(results, found):
    doubtful = TemplateUse("perhaps {}.", weight=64, reliability=0.5)
    found = {0: {**found[0], doubtful: results.Measured(0.001, 0.2, 0.1, 0.2)}}
    *_, row = results.seed_table(found)
    assert " | 20.0 (`perhaps {}.`) | 50.0 (`one {}.`) | " in row
    assert row.split(" | ")[2] == "-1.00, -1.00" != row.split(" | ")[1]


def test_groups_have_the_means_of_their_templates(results, found):
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in results.group_table(found)}
    assert rows["frequent (weight 64)"] == "| frequent (weight 64) | 2 | 0.0150 | 0.500 | 24.5 | 49.0 |"
    assert rows["never used"] == "| never used | 1 | 0.0500 | 0.500 | 15.0 | 30.0 |"
    assert rows["used, unreliable"].startswith("| used, unreliable | 1 |")


def test_properties_are_correlated_over_the_templates_that_captions_used(results, found):
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in results.property_table(found)}
    assert rows["sharpness"].endswith("| +1.00 (+1.00 to +1.00) | -1.00 (-1.00 to -1.00) | -1.00 (-1.00 to -1.00) |")
    assert rows["frequency (weight)"].split(" | ")[1] == "-0.95 (-0.95 to -0.95)"
    assert "nan" in rows["mean score of the classes"]  # all templates of the fixture have the same mean score


def test_the_section_names_the_command(results, found):
    assert results.section(found, 50)[0] == "`python -m benchmarks.sharpness --seeds 0 7 --photos 50`"
