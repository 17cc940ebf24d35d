"""A small network and a small photo for tests of CAMs."""

import pytest
import torch
from support import oracle
from support.cam_cases import opened


@pytest.fixture(scope="module")
def one_thread():
    """Compute in one thread, so that sums have one order and the same call gives the same bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(golden):
    """Return a small trained CLIP with its text network."""
    return oracle.oracle_model(golden / "small_vit.pt").eval()


@pytest.fixture(scope="module")
def photo(real_data):
    """Return a photo of 8 x 10 patches of 16 px, whose sides are not multiples of the patch size."""
    return opened(real_data, "2007_001185").resize((157, 121))
