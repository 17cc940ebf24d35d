import pytest
from pydantic import ValidationError

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.config.pseudo_masks import CrfConfig
from clipes_core.config.run import parse_config
from clipes_core.config.segmenter import EvaluationCrfConfig
from clipes_core.errors import ConfigError

KERNELS = {"iter_max": 10, "pos_w": 3, "pos_xy_std": 1, "bi_w": 4, "bi_xy_std": 67, "bi_rgb_std": 3}


def test_key_fields_omit_the_backend_if_its_labels_equal_those_of_pydensecrf():
    assert DenseCrfConfig(backend="lattice").key_fields() == DenseCrfConfig(backend="pydensecrf").key_fields()
    assert DenseCrfConfig().key_fields() == KERNELS
    assert EvaluationCrfConfig().key_fields() == KERNELS | {"enabled": False}
    assert CrfConfig().key_fields() == KERNELS | {"enabled": True, "image": "rgb", "background_power": 1}


def test_key_fields_name_a_backend_only_if_its_labels_differ(add_toy):
    add_toy(exact=True)
    assert CrfConfig(backend="toy").key_fields() == CrfConfig().key_fields()
    add_toy(exact=False)
    assert CrfConfig(backend="toy").key_fields() == CrfConfig().key_fields() | {"backend": "toy"}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_key_fields_omit_the_device(device):
    assert CrfConfig(backend="lattice", device=device).key_fields() == CrfConfig().key_fields()


def test_a_backend_for_processors_refuses_cuda():
    values = {"name": "a", "dataset": {"root": "/data"}, "crf": {"backend": "pydensecrf", "device": "cuda"}}
    message = (
        r"^crf\.device: the backend pydensecrf runs on processors only; set crf\.backend to lattice \(got 'cuda'\)$"
    )
    with pytest.raises(ConfigError, match=message):
        parse_config(values)


def test_values_at_their_bounds_are_accepted():
    lowest = {"iter_max": 1, "pos_w": 0, "pos_xy_std": 0.1, "bi_w": 0, "bi_xy_std": 0.1, "bi_rgb_std": 0.1}
    assert DenseCrfConfig(**lowest).key_fields() == lowest
    assert DenseCrfConfig(iter_max=100).iter_max == 100


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("iter_max", 101, "less than or equal to 100"),
        ("bi_w", -0.5, "greater than or equal to 0"),
        ("bi_xy_std", 0.09, r"greater than or equal to 0\.1"),
    ],
)
def test_out_of_bounds_values_are_refused_for_masks_and_predictions(key, value, message):
    for section in (DenseCrfConfig, EvaluationCrfConfig):
        with pytest.raises(ValidationError, match=rf"{key}\n  Input should be {message}"):
            section(**{key: value})
