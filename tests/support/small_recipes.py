"""Training recipes read from small MMSegmentation configs."""

import pytest

from clipes.tasks.training.recipes import read_recipe
from clipes_core.config.run import parse_config
from clipes_core.errors import ConfigError

PARTS = """
model = dict(type="EncoderDecoder", backbone=dict(type="ResNet", depth=18), decode_head=dict(type="FCNHead"))
train_pipeline = [dict(type="RandomFlip", prob=0.5), dict(type="PackSegInputs")]
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1))
train_cfg = dict(max_iters=100)
"""


def recipe_of(path, classes=9, precision="fp32", exif="ignore", **train):
    """Read the recipe from a config file, for a run with these settings."""
    values = {"name": "r", "dataset": {"root": "/", "exif": exif}, "train": {"mmseg_config": str(path), **train}}
    return read_recipe(parse_config(values), classes, precision)


def rejection(recipe_of_lines, lines, **train):
    """Return the error message with which `recipe_of_lines` rejects a config."""
    with pytest.raises(ConfigError) as caught:
        recipe_of_lines(lines, **train)
    return str(caught.value)
