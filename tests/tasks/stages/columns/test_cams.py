import subprocess
import sys

import numpy as np
import pytest

from clipes.tasks.stages.columns.cams import encoded_cams, encoded_residual, stored_cams


def row_of(cams):
    """Return a row with the columns of the given CAMs."""
    columns = {"class_ids": list(range(len(cams))), "grid_h": cams.shape[1], "grid_w": cams.shape[2]}
    encoded = {"cam": encoded_cams(cams), "refined_cam": encoded_cams(cams)}
    return columns | encoded | {"refined_residual": encoded_residual(cams)}


def test_refined_cams_are_stored_more_precisely_than_float16():
    cams = np.random.default_rng(0).uniform(0, 1, (2, 3, 4)).astype(np.float32)
    row = row_of(cams)
    assert 1e-5 < np.abs(stored_cams(row, "cam") - cams).max() < 5e-4
    assert np.abs(stored_cams(row, "refined_cam") - cams).max() < 1e-6


def test_a_column_holds_half_precision_in_little_endian_and_c_order():
    cams = np.array([[[0, 1], [0.5, 0.25]]], np.float32)
    # 1 is 0x3c00; halving subtracts 1 from the exponent, which starts at bit 10
    assert encoded_cams(cams) == bytes.fromhex("0000 003c 0038 0034")
    assert encoded_cams(np.asfortranarray(cams)) == encoded_cams(cams)
    assert encoded_residual(cams) == bytes(8)


def test_a_residual_is_the_rounding_error_of_half_precision():
    cams = np.array([[[1 - 2**-13]]], np.float32)  # just below 1, half precision has steps of 2^-11
    residual = np.frombuffer(encoded_residual(cams), "<f2")
    assert residual.tolist() == [-(2**-13)]
    assert stored_cams(row_of(cams), "cam").item() == 1
    assert stored_cams(row_of(cams), "refined_cam").item() == 1 - 2**-13


@pytest.mark.parametrize("shape", [(3, 2, 4), (1, 1, 1), (0, 2, 4)])
def test_cams_are_read_in_their_shape_as_a_writable_array(shape):
    cams = np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    for column in ("cam", "refined_cam"):
        stored = stored_cams(row_of(cams), column)
        assert (stored.shape, stored.dtype) == (shape, np.float32)
        assert stored.flags.writeable
        np.testing.assert_allclose(stored, cams, atol=5e-4)


def test_reading_cams_does_not_import_torch():
    program = "import sys, clipes.tasks.stages.columns.cams; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
