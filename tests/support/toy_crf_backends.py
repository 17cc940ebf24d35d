"""A CRF backend that a test adds to the table `CRF_BACKENDS`."""

import numpy as np


def no_neighbours(unary, image, config):
    """Return the posterior of each pixel from its own scores."""
    probs = np.exp(-unary)
    return probs / probs.sum(axis=0)
