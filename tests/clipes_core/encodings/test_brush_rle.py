import numpy as np
import pytest
from label_studio_sdk.converter.brush import decode_rle, mask2rle

from clipes_core.encodings.brush_rle import brush_rle
from clipes_core.errors import ShapeError


def decoded(rle, shape):
    pixels = decode_rle(rle).reshape(*shape, 4)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 3] == 255


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (300, 1), (3, 5), (260, 300)])
@pytest.mark.parametrize("density", [0, 0.01, 0.5, 1])
def test_label_studio_s_decoder_reads_the_mask(shape, density):
    mask = np.random.default_rng(3).random(shape) < density
    assert (decoded(brush_rle(mask), shape) == mask).all()


def test_runs_of_every_length_class():
    lengths = [1, 2, 3, 4, 5, 63, 64, 65, 16383, 16384, 16385, 40000]
    mask = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)[None]
    assert (decoded(brush_rle(mask), mask.shape) == mask).all()


def test_the_header_is_that_of_label_studio_s_encoder():
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    assert brush_rle(mask)[:7] == mask2rle(mask.astype(np.uint8) * 255)[:7]


def test_a_wrong_mask_is_refused():
    with pytest.raises(
        ShapeError, match=r"^mask must be \(H, W\) bool with fewer than 2\^30 pixels, got \(2, 2\) uint8"
    ):
        brush_rle(np.ones((2, 2), np.uint8))
