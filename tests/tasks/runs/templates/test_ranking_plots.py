import io

import numpy as np
import pytest
from PIL import Image

from clipes.tasks.runs.pooled_scores import TemplateScore
from clipes.tasks.runs.templates.ranking import TemplateRanking
from clipes.tasks.runs.templates.ranking_plots import ranking_png, sharpness_png
from clipes_core.template_ranking import RankedTemplate

RED = np.array([196, 78, 82])


def ranking_of(*templates):
    return TemplateRanking(tuple(RankedTemplate(rank, each, rank / 9) for rank, each in enumerate(templates, 1)), 3, 4)


def pixels(png):
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.array(image.convert("RGB")).astype(int)


def reds(png):
    return int((np.abs(pixels(png) - RED).max(axis=-1) < 30).sum())


def test_templates_are_drawn_verbatim_and_marked_ones_in_red():
    ranking = ranking_of("a $x_{}", "b \\frac{}$", "c {}")
    assert reds(ranking_png(ranking)) == 0
    assert reds(ranking_png(ranking, ["c {}"])) > 20


def test_a_plot_grows_with_its_templates_up_to_a_maximum_height():
    heights = [
        len(pixels(ranking_png(ranking_of(*(f"{number} {{}}" for number in range(count)))))) for count in (3, 50)
    ]
    assert heights[1] - heights[0] == pytest.approx(47 * 0.17 * 120, abs=2)


def test_each_template_is_a_point_in_both_panels():
    scores = [TemplateScore(0.1 * place, 1, 0.05 * place, 2) for place in range(1, 6)]
    sharpness = [0.1, 0.2, 0.3, 0.4, 0.5]
    png = sharpness_png(sharpness, scores, [True] * 5, ("left", "right"))
    whole = np.abs(pixels(png) - RED).max(axis=-1) < 30
    left, right = np.hsplit(whole[:, : whole.shape[1] // 2 * 2], 2)
    assert min(left.sum(), right.sum()) > 100
    assert reds(sharpness_png(sharpness, scores, [False] * 5, ("left", "right"))) == 0
