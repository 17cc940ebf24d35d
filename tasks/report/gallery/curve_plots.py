"""Plots of a training run: loss, learning rate, share of pixels above the confidence threshold, and mIoU."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from clipes.tasks.report.gallery.pictures import Picture, data_uri
from clipes.tasks.report.segmenter_facts import CurveRows

SIZE_IN, DPI = (4.6, 3.1), 130
COLOUR, OTHER_COLOUR = "#2563a8", "#c2702a"


def curve_pictures(curve: CurveRows) -> tuple[Picture, ...]:
    """Draw the plots of a training run. If the mIoU was never measured, its plot is left out.

    Args:
        curve: rows of the segmenter's artifact. If there are no rows, no plot is drawn.
    """
    return _drawn(tuple(tuple(point.items()) for point in curve))


@lru_cache(maxsize=1)  # the report and the Prefect UI show the same plots
def _drawn(points: tuple[tuple[tuple[str, Any], ...], ...]) -> tuple[Picture, ...]:
    return tuple(_pictures(tuple(map(dict, points))))


def _pictures(curve: CurveRows) -> Iterator[Picture]:
    if curve:
        yield _picture("Loss and learning rate", curve, _draw_loss)
        yield _picture("Labelled pixels kept by the confidence threshold", curve, _draw_kept)
    measured = tuple(point for point in curve if point["miou"] is not None)
    if measured:
        yield _picture("mIoU on evaluation photos", measured, _draw_miou)


def _picture(title: str, curve: CurveRows, draw: Callable[[Axes, CurveRows], None]) -> Picture:
    figure = Figure(figsize=SIZE_IN, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    draw(axes, curve)
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(alpha=0.3)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Picture(title, data_uri(np.asarray(canvas.buffer_rgba())[..., :3], lossless=True))


def _draw_loss(axes: Axes, curve: CurveRows) -> None:
    axes.plot(*_line(curve, "loss"), color=COLOUR, linewidth=1.2)
    axes.set_ylabel("loss", color=COLOUR)
    axes.set_ylim(bottom=0)
    rate = axes.twinx()
    rate.plot(*_line(curve, "learning_rate"), color=OTHER_COLOUR, linewidth=1.2)
    rate.set_ylabel("learning rate", color=OTHER_COLOUR)
    rate.set_ylim(bottom=0)
    rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))


def _draw_kept(axes: Axes, curve: CurveRows) -> None:
    axes.plot(*_line(curve, "kept_fraction"), color=COLOUR, linewidth=1.2)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _draw_miou(axes: Axes, curve: CurveRows) -> None:
    axes.plot(*_line(curve, "miou"), color=COLOUR, linewidth=1.2, marker="o", markersize=3.5)
    best = max(curve, key=lambda point: point["miou"])
    axes.plot(best["iteration"], best["miou"], color=OTHER_COLOUR, marker="o", markersize=7)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))


def _line(curve: CurveRows, column: str) -> tuple[list[int], list[float]]:
    return [point["iteration"] for point in curve], [point[column] for point in curve]
