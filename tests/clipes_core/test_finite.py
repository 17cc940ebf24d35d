import numpy as np
import pytest
import torch

from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.finite import check_finite, is_finite

ARRAYS = {
    "float64": lambda values: np.array(values),
    "float16": lambda values: np.array(values, np.float16),
    "tensor": lambda values: torch.tensor(values),
    "half": lambda values: torch.tensor(values, dtype=torch.float16),
    "brain": lambda values: torch.tensor(values, dtype=torch.bfloat16),
}


@pytest.mark.parametrize("made", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", range(4))
def test_one_value_that_is_not_finite_is_found_anywhere(made, bad, place):
    values = [[1.0, -2.0], [0.0, 3.0]]
    values[place // 2][place % 2] = bad
    assert not is_finite(made(values))


@pytest.mark.parametrize("made", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("values", [[], [0.0], [-60000.0, 60000.0], [[1e-7], [1.0]]])
def test_finite_values_pass(made, values):
    check_finite(made(values), "a CAM", "none")


def test_the_error_names_the_values_and_the_likely_causes():
    with pytest.raises(PhotoError, match=r"^a CAM contains NaN or infinity\. Likely causes: bad weights$") as error:
        check_finite(np.array([np.nan]), "a CAM", "bad weights")
    assert error.value.kind == ErrorKind.NOT_FINITE
