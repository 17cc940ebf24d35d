import pytest
import torch
from numpy.testing import assert_allclose

from clipes_core.errors import ShapeError
from clipes_core.flattened import by_photo, means


@pytest.mark.parametrize(
    ("counts", "slices"),
    [
        ([2], [(0, 1, 2)]),
        ([1, 1, 1], [(0, 3, 1)]),
        ([1, 2, 2, 3], [(0, 1, 1), (1, 3, 2), (3, 4, 3)]),
        ([2, 1, 2], [(0, 1, 2), (1, 2, 1), (2, 3, 2)]),
    ],
)
def test_neighbours_with_equally_many_values_are_processed_together(counts, slices):
    values, of_photos, calls = torch.arange(2.0 * sum(counts)).reshape(-1, 2), torch.arange(len(counts)), []

    def compute(photos, own):
        calls.append((photos.start, photos.stop, own.shape[1]))
        return own + 100 * of_photos[photos, None, None]

    found = by_photo(values, counts, compute)
    assert calls == slices
    photo_of = torch.repeat_interleave(of_photos, torch.tensor(counts))
    assert torch.equal(found, values + 100 * photo_of[:, None])


@pytest.mark.parametrize("shape", [(), (3, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_consecutive_values_are_averaged(dtype, shape):
    values, counts = torch.rand(6, *shape, dtype=dtype), [1, 3, 2]
    expected = torch.stack([own.mean(dim=0) for own in values.split(counts)])
    assert means(values, counts).dtype == dtype
    assert_allclose(means(values, counts), expected, rtol=1e-6)


def test_one_value_each_needs_no_average():
    values = torch.rand(3, 2)
    assert means(values, [1, 1, 1]) is values


@pytest.mark.parametrize("counts", [[1, 1], [2, 2]])
def test_counts_that_do_not_add_up_are_refused(counts):
    for call in (lambda: means(torch.rand(3, 2), counts), lambda: by_photo(torch.rand(3, 2), counts, max)):
        with pytest.raises(ShapeError, match="counts must add up to the number of values, 3, got"):
            call()
