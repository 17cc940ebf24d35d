import subprocess
import sys

import numpy as np
import pytest
from support.report_pages import Element, picture

from clipes.tasks.report.gallery.pictures import Pictures
from clipes.tasks.report.gallery.training_plots import training_plots

CURVE = tuple(
    {"iteration": step, "loss": 1 / step, "learning_rate": 1e-3, "kept_fraction": 0.5, "miou": miou}
    for step, miou in ((1, None), (2, 0.25))
)
WITHOUT_MIOU = tuple({**point, "miou": None} for point in CURVE)


def shown(plot):
    return np.asarray(picture(Element("img", {"src": plot.uri})))


def page_of(plots):
    return "".join(f'<img src="{plot.uri}" data-key="{plot.key}">' for plot in plots)


def test_a_training_has_a_plot_of_each_measured_quantity():
    titles = ["Loss and learning rate", "Labelled pixels kept by the confidence threshold", "mIoU on evaluation photos"]
    plots = [*training_plots(CURVE, Pictures())]
    assert [plot.title for plot in plots] == titles
    assert all(shown(plot).std() > 5 for plot in plots)  # they are not blank
    assert [plot.title for plot in training_plots(WITHOUT_MIOU, Pictures())] == titles[:2]
    assert [*training_plots((), Pictures())] == []


@pytest.mark.parametrize("column", ["iteration", "loss", "learning_rate", "kept_fraction", "miou"])
def test_a_plot_of_other_values_is_drawn_again(column):
    plots = [*training_plots(CURVE, Pictures())]
    changed = (CURVE[0], {**CURVE[1], column: 3})
    again = [*training_plots(changed, Pictures(page_of(plots)))]
    assert {plot.key for plot in again}.isdisjoint(plot.key for plot in plots)


def test_plots_of_the_last_report_need_no_matplotlib():
    page = page_of(training_plots(CURVE, Pictures()))
    program = f"""
import sys
from clipes.tasks.report.gallery.pictures import Pictures
from clipes.tasks.report.gallery.training_plots import training_plots
print(len([*training_plots({CURVE!r}, Pictures({page!r}))]), "matplotlib" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True, check=True)
    assert done.stdout == "3 False\n"
