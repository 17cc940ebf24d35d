import numpy as np
import pytest

from clipes_core.demo.backgrounds import BACKGROUNDS, cloudy, texture, waves


@pytest.mark.parametrize("name", BACKGROUNDS)
def test_a_background_is_textured_and_varies(name):
    first, second = (BACKGROUNDS[name](np.random.default_rng(seed), 48) for seed in (0, 1))
    assert first.shape == (48, 48, 3)
    assert first.min() > -40
    assert first.max() < 300
    assert first.std(axis=(0, 1)).max() > 2
    assert np.abs(first - second).mean() > 5


def test_backgrounds_differ_in_colour():
    means = {
        name: np.mean([make(np.random.default_rng(seed), 32).mean(axis=(0, 1)) for seed in range(20)], axis=0)
        for name, make in BACKGROUNDS.items()
    }
    for name, mean in means.items():
        for other, theirs in means.items():
            assert name == other or np.abs(mean - theirs).max() > 15, (name, other)


def test_waves_have_the_given_length_and_direction():
    across = waves(np.random.default_rng(0), 64, 0.0, 0.25)
    assert np.ptp(across, axis=0).max() < 1e-5  # each column has a single value
    assert np.count_nonzero(np.diff(np.sign(across[0]))) in (7, 8)  # four waves


@pytest.mark.parametrize("seed", range(8))
def test_textures_stay_in_bounds(seed):
    made = texture(np.random.default_rng(seed), 40)
    assert made.shape == (40, 40)
    assert np.abs(made).max() < 1.6
    assert made.std() > 0.05


def test_more_cells_give_finer_noise():
    def roughness(cells):
        made = cloudy(np.random.default_rng(0), 64, (cells, cells))
        return np.abs(np.diff(made, axis=1)).mean()

    assert roughness(16) > 3 * roughness(2)
