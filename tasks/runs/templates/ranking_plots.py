"""Plots of a ranking of templates, as PNGs."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from clipes.tasks.runs.pooled_scores import TemplateScore
from clipes.tasks.runs.templates.ranking import TemplateRanking, counted

DPI = 120
HIGHEST_IN = 60  # largest height of a plot [inch]; with more templates than fit, the rows are closer together
PAPER_COLOUR, COLOUR = "#c44e52", "#4c72b0"


def ranking_png(ranking: TemplateRanking, marked: Sequence[str] = ()) -> bytes:
    """Plot the sharpness of each template, with the best template on top, and return the PNG.

    Args:
        ranking: ranking of the templates.
        marked: the paper's templates, which are drawn in a different colour.
    """
    height = min(1.6 + 0.17 * len(ranking.ranked), HIGHEST_IN)
    figure = Figure(figsize=(8, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    places = [each.rank for each in ranking.ranked]
    colours = [PAPER_COLOUR if each.template in marked else COLOUR for each in ranking.ranked]
    axes.scatter([each.sharpness for each in ranking.ranked], places, c=colours, s=14)
    axes.set_yticks(places, [each.template for each in ranking.ranked], fontsize=7)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)  # a template may contain a dollar sign
    axes.set_ylim(len(places) + 1, 0)
    axes.set_xlabel("sharpness (lower is better)")
    axes.set_title(counted(ranking) + _legend(any(each.template in marked for each in ranking.ranked)), fontsize=9)
    axes.grid(axis="both", alpha=0.3)
    return _png(figure)


def sharpness_png(
    sharpness: Sequence[float], scores: Sequence[TemplateScore], marked: Sequence[bool], captions: Sequence[str]
) -> bytes:
    """Plot the mIoU of the CAMs against sharpness, as in figure 3 of the paper, and return the PNG.

    The left panel shows the initial CAMs, the right one the refined CAMs.

    Args:
        sharpness: sharpness of each sampled template.
        scores: scores of each sampled template.
        marked: for each sampled template, True if it is one of the paper's templates. Their points have a different
            colour.
        captions: captions of the left and the right panel.
    """
    figure = Figure(figsize=(10, 4.2), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, 2)
    _panel(panels[0], sharpness, [score.initial_miou for score in scores], marked, captions[0])
    _panel(panels[1], sharpness, [score.refined_miou for score in scores], marked, captions[1])
    return _png(figure)


def _panel(axes: Axes, x: Sequence[float], y: Sequence[float], marked: Sequence[bool], caption: str) -> None:
    axes.scatter(x, y, c=[PAPER_COLOUR if each else COLOUR for each in marked], s=22)
    axes.set_xlabel("sharpness (lower is better)")
    axes.set_ylabel("mIoU")
    axes.set_title(caption + _legend(any(marked)), fontsize=9)
    axes.grid(alpha=0.3)


def _legend(marked: bool) -> str:
    return "; red: the paper's templates" if marked else ""


def _png(figure: Figure) -> bytes:
    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data)
    return data.getvalue()
