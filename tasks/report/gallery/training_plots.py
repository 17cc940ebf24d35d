"""The plots of a training run. A plot is drawn only if no earlier report holds a plot of the same values."""

from collections.abc import Iterator
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from clipes.tasks.report.gallery.pictures import Picture, Pictures
from clipes.tasks.report.segmenter_facts import CurveRows


def training_plots(curve: CurveRows, pictures: Pictures) -> Iterator[Picture]:
    """Yield the plots of a training run. If the mIoU was never measured, its plot is left out.

    Args:
        curve: rows of the segmenter's artifact. If there are no rows, no plot is drawn.
        pictures: the pictures of the report.
    """
    plots = {"Loss and learning rate": "draw_loss", "Labelled pixels kept by the confidence threshold": "draw_kept"}
    measured = tuple(point for point in curve if point["miou"] is not None)
    for title, draw in plots.items() if curve else ():
        yield _plot(title, draw, curve, pictures)
    if measured:
        yield _plot("mIoU on evaluation photos", "draw_miou", measured, pictures)


def _plot(title: str, draw: str, curve: CurveRows, pictures: Pictures) -> Picture:
    source = [draw, [dict(point) for point in curve], *_program()]
    return pictures.drawn(title, source, partial(_draw, draw, curve))


def _draw(draw: str, curve: CurveRows) -> np.ndarray:
    from clipes.tasks.report.gallery import curve_plots  # imports matplotlib

    drawn: np.ndarray = getattr(curve_plots, draw)(curve)
    return drawn


@cache
def _program() -> tuple[str, bytes]:
    """Return what the look of the plots depends on besides their values: the version of matplotlib, and the code."""
    return version("matplotlib"), Path(__file__).with_name("curve_plots.py").read_bytes()
