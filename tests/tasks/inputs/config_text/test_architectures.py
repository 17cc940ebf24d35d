import open_clip
import pytest

from clipes.tasks.inputs.config_text.architectures import architectures, find_architecture


def test_the_architectures_are_those_of_open_clip_and_the_demo():
    found = architectures()
    assert list(found) == sorted(found)
    assert found.keys() == {*open_clip.list_models(), "clipes-demo"}
    assert found["RN50"] == find_architecture("RN50") == open_clip.get_model_config("RN50")


@pytest.mark.parametrize("name", ["none", "", "hf-hub:someone/clip", "../models/clipes-demo"])
def test_another_name_has_no_architecture(name):
    assert find_architecture(name) is None
