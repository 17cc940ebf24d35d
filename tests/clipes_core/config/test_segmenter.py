import pytest

from clipes_core.config.run import check_section
from clipes_core.config.segmenter import EvaluationConfig, TrainConfig
from clipes_core.errors import ConfigError


def complaint(section, **values):
    with pytest.raises(ConfigError) as caught:
        check_section(section, values)
    return str(caught.value)


def test_defaults_are_the_values_in_the_paper():
    train, evaluation = TrainConfig(), EvaluationConfig()
    assert (train.loss, train.mu, train.mmseg_config) == ("cgl", 0.95, "deeplabv2_r101_voc12")
    assert (train.iterations, train.init) == (None, None)  # the iterations of the MMSegmentation config
    assert (evaluation.mode, evaluation.scales, evaluation.flip) == ("whole", (1.0,), False)
    assert not evaluation.crf.enabled


def test_evaluation_photos_contains_only_the_settings_given_for_photos():
    assert EvaluationConfig().photos == {}
    assert EvaluationConfig(seed=0, scales=(1, 0.5)).photos == {"seed": 0}
    own = {"root": "/photos", "split": "val", "truth": "/masks", "seed": 3, "count": 9}
    assert EvaluationConfig(mode="slide", **own).photos == own


def test_mu_is_a_number_or_labels():
    assert [TrainConfig(mu=mu).mu for mu in (0, 1, "labels")] == [0, 1, "labels"]
    for mu in (1.5, -0.1, "masks"):
        assert {line.partition(":")[0] for line in complaint(TrainConfig, mu=mu).splitlines()} == {"mu"}


def test_crops_must_cover_the_photo():
    assert EvaluationConfig(mode="slide", crop=342).stride == 342
    message = "stride: must be at most evaluation.crop, otherwise the crops do not cover the photo (got {})"
    assert complaint(EvaluationConfig, mode="slide", crop=341) == message.format(342)
    assert complaint(EvaluationConfig, mode="slide", stride=514) == message.format(514)
    assert EvaluationConfig(crop=341).mode == "whole"


def test_a_bad_crop_is_the_only_complaint():
    assert complaint(EvaluationConfig, mode="slide", crop=31) == (
        "crop: Input should be greater than or equal to 32 (got 31)"
    )


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        (TrainConfig, "loss", "focal"),
        (TrainConfig, "iterations", 0),
        (TrainConfig, "precision", "fp64"),
        (TrainConfig, "checkpoint_every", 0),
        (TrainConfig, "keep_checkpoints", 0),
        (TrainConfig, "validate_every", -1),
        (TrainConfig, "validate_photos", 0),
        (EvaluationConfig, "count", 0),
        (EvaluationConfig, "mode", "tiles"),
        (EvaluationConfig, "stride", 0),
        (EvaluationConfig, "scales", []),
        (EvaluationConfig, "merge", "sum"),
    ],
)
def test_the_error_for_an_out_of_bounds_value_names_its_key(section, key, value):
    line = complaint(section, **{key: value})
    assert line.startswith(f"{key}: ")
    assert line.endswith(f"(got {value!r})")


def test_validation_may_be_switched_off():
    assert TrainConfig(validate_every=0).validate_every == 0
