"""A small network and a small photo for tests of CAMs, and a CRF backend that is not shipped."""

import pytest
import torch
from support import oracle

from clipes_core.crf_backends import CRF_BACKENDS, CrfBackend


@pytest.fixture(scope="module")
def one_thread():
    """Compute in one thread, so that sums have one order and the same call gives the same bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(seeded_weights):
    """Return a small CLIP with its text network."""
    return oracle.oracle_model(seeded_weights).eval()


@pytest.fixture(scope="module")
def photo(large_scene):
    """Return a photo of 8 x 10 patches of 16 px, whose sides are not multiples of the patch size."""
    return large_scene.resize((157, 121))


@pytest.fixture
def add_toy(monkeypatch):
    """Return a function that adds the CRF backend `toy`."""

    def add(exact):
        row = CrfBackend("support.toy_crf_backends:no_neighbours", exact)
        monkeypatch.setitem(CRF_BACKENDS, "toy", row)

    return add
