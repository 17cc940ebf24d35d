"""A small network and photo for tests of CAMs, and a CRF backend that clipes does not ship."""

import pytest
import torch
from support import oracle

from clipes_core.crf_backends import CRF_BACKENDS, CrfBackend


@pytest.fixture(scope="module")
def one_thread():
    """Compute in one thread, so that sums are added in one order and equal calls give equal bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(seeded_weights):
    """Return a small CLIP that includes its text network."""
    return oracle.oracle_model(seeded_weights).eval()


@pytest.fixture(scope="module")
def photo(large_scene):
    """Return a photo whose sides are not multiples of the patch size and that covers 8 x 10 patches of 16 px."""
    return large_scene.resize((157, 121))


@pytest.fixture
def add_toy(monkeypatch):
    """Return a function that adds the CRF backend `toy`."""

    def add(exact):
        row = CrfBackend("support.toy_crf_backends:no_neighbours", exact)
        monkeypatch.setitem(CRF_BACKENDS, "toy", row)

    return add
