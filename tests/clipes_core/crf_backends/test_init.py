import numpy as np
import pytest
from support.crf_cases import require

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.config.run import parse_config
from clipes_core.crf_backends import CRF_BACKENDS
from clipes_core.dense_crf import dense_crf
from clipes_core.errors import ConfigError

PROBS = np.array([0.9, 0.2, 0.3, 0.2]).reshape(2, 1, 2)
GREY = np.full((1, 2, 3), 128, np.uint8)


@pytest.mark.parametrize("name", CRF_BACKENDS)
def test_every_backend_names_a_function_that_can_be_imported(name):
    require(name)
    assert callable(CRF_BACKENDS[name].load())


@pytest.mark.parametrize("name", CRF_BACKENDS)
def test_every_backend_returns_a_posterior_and_mutates_nothing(name):
    require(name)
    random = np.random.default_rng(0)
    unary = random.random((3, 5, 7), dtype=np.float32)
    image = random.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    before = unary.copy(), image.copy()

    posterior = CRF_BACKENDS[name].load()(unary, image, DenseCrfConfig())

    assert (posterior.shape, posterior.dtype) == ((3, 5, 7), np.float32)
    assert posterior.sum(axis=0) == pytest.approx(np.ones((5, 7)), abs=1e-5)
    assert np.array_equal(unary, before[0])
    assert np.array_equal(image, before[1])


def test_an_added_backend_computes_the_posterior(add_toy):
    add_toy(exact=False)
    posterior = dense_crf(GREY, PROBS, DenseCrfConfig(backend="toy"))
    # pydensecrf's kernels would make the two pixels, which have the same colour, more alike
    assert posterior == pytest.approx(np.array([0.75, 0.5, 0.25, 0.5]).reshape(2, 1, 2))


def test_the_error_for_an_unknown_backend_lists_the_known_ones():
    values = {"name": "a", "dataset": {"root": "/data"}, "crf": {"backend": "gpu"}}
    with pytest.raises(ConfigError, match=r"^crf\.backend: Input should be 'lattice' or 'pydensecrf' \(got 'gpu'\)$"):
        parse_config(values)
