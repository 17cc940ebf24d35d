import numpy as np
import pytest

from clipes_core.confidence import (
    PAPER_MU,
    confidence_from_cams,
    confidence_from_posterior,
    histogram,
    lowest_kept_level,
    mean_confidence,
    quantise,
    share_at_least,
    shares_by_confidence,
)
from clipes_core.errors import ShapeError


def test_posterior_confidence_is_the_largest_channel():
    posterior = np.array([[[0.5, 0.1]], [[0.2, 0.6]], [[0.3, 0.3]]], np.float32)
    assert confidence_from_posterior(posterior) == pytest.approx(np.array([[0.5, 0.6]]))


def test_cam_confidence_is_the_larger_of_peak_and_complement():
    cams = np.array([[[0.0, 0.2, 0.5, 0.1]], [[0.0, 0.3, 0.4, 0.9]]])
    # peaks 0, 0.3, 0.5, 0.9 leave 1, 0.7, 0.5, 0.1
    assert confidence_from_cams(cams) == pytest.approx(np.array([[1.0, 0.7, 0.5, 0.9]]))


def test_without_classes_the_confidence_is_one():
    assert confidence_from_cams(np.zeros((0, 2, 3))).tolist() == [[1, 1, 1], [1, 1, 1]]
    assert confidence_from_posterior(np.ones((1, 1, 2))).tolist() == [[1, 1]]


def test_quantisation_rounds_to_the_nearest_level():
    confidence = np.array([[0, 0.0019, 0.0020, 0.5, 0.95, 0.9990, 1]])
    # times 255: 0, 0.4845, 0.51, 127.5 (to even), 242.25, 254.745, 255
    quantised = quantise(confidence)
    assert quantised.dtype == np.uint8
    assert quantised.tolist() == [[0, 0, 1, 128, 242, 255, 255]]


def test_quantised_levels_survive_a_round_trip():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(quantise(levels.astype(np.float32) / 255), levels)


@pytest.mark.parametrize(
    ("mu", "level"),
    [(0.0, 0), (0.2, 51), (0.4, 102), (0.5, 128), (0.6, 153), (0.8, 204), (0.95, 243), (1.0, 255)],
)
def test_lowest_sure_level_is_the_first_level_at_or_above_the_threshold(mu, level):
    # 0.2, 0.4, 0.6 and 0.8 are exact levels (51 / 255, ...); 0.95 * 255 = 242.25 and 0.5 * 255 = 127.5
    assert lowest_kept_level(mu) == level


def test_a_level_used_as_threshold_is_the_lowest_sure_level():
    assert [lowest_kept_level(level / 255) for level in range(256)] == list(range(256))


def test_histogram_counts_each_level():
    counts = histogram(np.array([[0, 7, 7], [255, 7, 0]], np.uint8))
    assert counts.dtype == np.int64
    assert counts.shape == (256,)
    assert (counts[0], counts[7], counts[255], counts.sum()) == (2, 3, 1, 6)
    assert histogram(np.zeros((1, 2), np.uint8)).tolist() == [2] + [0] * 255


def test_does_not_mutate_its_inputs():
    values = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    before = values.copy()
    quantise(confidence_from_posterior(values))
    quantise(confidence_from_cams(values))
    assert np.array_equal(values, before)


@pytest.mark.parametrize("shape", [(0, 2, 2), (2, 2)])
def test_rejects_a_posterior_without_channels(shape):
    with pytest.raises(ShapeError, match=r"posterior must be \(1 \+ K, H, W\), got"):
        confidence_from_posterior(np.ones(shape))


def test_rejects_a_single_cam_without_a_class_axis():
    with pytest.raises(ShapeError, match=r"cams must be \(K, H, W\), got \(2, 2\)"):
        confidence_from_cams(np.ones((2, 2)))


@pytest.mark.parametrize("confidence", [np.ones((2, 2)), np.ones((1, 2, 2), np.uint8)])
def test_only_stored_maps_have_a_histogram(confidence):
    with pytest.raises(ShapeError, match=r"confidence must be \(H, W\) uint8, got"):
        histogram(confidence)


def counted(**pixels):
    """Return a histogram with the given counts, such as level_7=3."""
    counts = np.zeros(256, np.int64)
    for level, count in pixels.items():
        counts[int(level.removeprefix("level_"))] = count
    return counts


def test_the_share_above_a_threshold_includes_the_threshold():
    counts = counted(level_0=1, level_242=2, level_243=3, level_255=4)
    assert share_at_least(counts, 0.95) == pytest.approx(0.7)
    assert share_at_least(counts, 0) == 1
    assert share_at_least(counts, 1) == pytest.approx(0.4)


def test_pixels_are_binned_by_confidence():
    # quarters begin at the levels 0, 64, 128, 192 (63.75, 127.5, 191.25 rounded up)
    counts = counted(level_0=1, level_63=1, level_64=2, level_127=1, level_192=1, level_255=4)
    assert shares_by_confidence(counts, 4).tolist() == pytest.approx([0.2, 0.3, 0, 0.5])


def test_the_last_of_twenty_bins_is_the_share_kept_by_the_paper_mu():
    counts = np.arange(256)
    shares = shares_by_confidence(counts, 20)
    assert shares[-1] == pytest.approx(share_at_least(counts, PAPER_MU))
    assert shares.sum() == pytest.approx(1)


def test_mean_confidence_weights_levels_by_their_pixels():
    assert mean_confidence(counted(level_0=1, level_51=2, level_255=1)) == pytest.approx((0 + 0.2 * 2 + 1) / 4)
