"""Plots of a training run: loss, learning rate, share of pixels above the confidence threshold, and mIoU.

`training_plots` imports this module only if a plot must be drawn, because matplotlib takes a moment to import.
"""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from clipes.tasks.report.segmenter_facts import CurveRows

SIZE_IN, DPI = (4.6, 3.1), 130
COLOUR, OTHER_COLOUR = "#2563a8", "#c2702a"


def draw_loss(curve: CurveRows) -> np.ndarray:
    """Draw the loss and the learning rate. Return (H, W, 3) uint8 RGB, as the other functions of this module do."""
    return _drawn(curve, _draw_loss)


def draw_kept(curve: CurveRows) -> np.ndarray:
    """Draw the share of the labelled pixels that the confidence threshold keeps."""
    return _drawn(curve, _draw_kept)


def draw_miou(curve: CurveRows) -> np.ndarray:
    """Draw the mIoU. Every row of `curve` must have one."""
    return _drawn(curve, _draw_miou)


def _drawn(curve: CurveRows, draw: Callable[[Axes, CurveRows], None]) -> np.ndarray:
    figure = Figure(figsize=SIZE_IN, dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    draw(axes, curve)
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(alpha=0.3)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


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
