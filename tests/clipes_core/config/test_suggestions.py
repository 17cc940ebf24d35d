import pytest

from clipes_core.config.run import RunConfig
from clipes_core.config.suggestions import similar_key


@pytest.mark.parametrize(
    ("unknown", "key"),
    [
        ("cam.pover", "cam.power"),
        ("cam.box_treshold", "cam.box_threshold"),
        ("dataste", "dataset"),
        ("box_threshold", "cam.box_threshold"),  # without its section
        ("clip.box_threshold", "cam.box_threshold"),  # in the wrong section
        ("backend", None),  # several sections have this key
        ("nope", None),
        ("cam.nope", None),
        ("nope.power", "cam.power"),
    ],
)
def test_the_key_that_an_unknown_key_may_stand_for(unknown, key):
    assert similar_key(RunConfig, unknown.split(".")) == key
