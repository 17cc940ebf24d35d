"""CRF backends that tests add to the table `CRF_BACKENDS`."""

import numpy as np

from clipes_core.config.extras import Extra
from clipes_core.crf_backends import CrfBackend

NOT_INSTALLED = CrfBackend(
    "no_such_module:infer", exact=True, extra=Extra("toys", module="no_such_module", requirements="a toolbox")
)


def no_neighbours(unary, image, config):
    """Return the posterior of each pixel from its own scores."""
    probs = np.exp(-unary)
    return probs / probs.sum(axis=0)
