import json

import pytest

from tasks.segmenter_configs import as_text, from_text, unregistered, without_initial_weights


def test_a_config_comes_back_with_its_tuples():
    config = {"type": "ResNet", "strides": (1, 2), "nested": [{"arch": ((1, [2]), None)}], "dropout": 0.1, "none": ()}
    text = as_text(config)
    assert json.loads(text)["type"] == "ResNet"
    assert from_text(text) == config
    assert from_text(json.dumps({"a": [1, 2]})) == {"a": [1, 2]}


def test_what_no_text_can_say_is_refused():
    with pytest.raises(TypeError, match="set is not JSON serializable"):
        as_text({"strides": {1, 2}})
    with pytest.raises(ValueError, match="Expecting value"):
        from_text("no JSON")


def test_nothing_is_left_of_initial_weights():
    config = {
        "pretrained": "a",
        "backbone": {"type": "ResNet", "init_cfg": {"type": "Normal"}, "parts": ({"pretrained": "b", "depth": 1},)},
        "decode_head": {"loss_decode": [{"class_weight": "file.pkl"}, {"class_weight": [1.0, 2.0]}]},
    }
    assert without_initial_weights(config) == {
        "backbone": {"type": "ResNet", "parts": ({"depth": 1},)},
        "decode_head": {"loss_decode": [{}, {"class_weight": [1.0, 2.0]}]},
    }
    assert config["pretrained"] == "a"


@pytest.mark.parametrize("name", ["TIMMBackbone", "mmseg.TIMMBackbone"])
def test_timm_reads_and_fetches_nothing(name):
    config = {"type": name, "model_name": "resnet10t", "checkpoint_path": "a", "pretrained_cfg_overlay": {"file": "b"}}
    assert without_initial_weights(config) == {"type": name, "model_name": "resnet10t", "pretrained": False}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"type": "ResNet", "norm_cfg": {"type": "BN"}}, []),
        ({"type": "mmseg.ResNet", "_scope_": "mmseg"}, []),
        ({"type": "os.mkdir"}, ["os.mkdir"]),
        ({"type": "ResNet", "_scope_": "antigravity"}, ["antigravity"]),
        ({"parts": ({"type": "nonesuch.ResNet"},)}, ["nonesuch.ResNet"]),
        ({"type": "TIMMBackbone", "norm_layer": "antigravity"}, ["antigravity"]),
        ({"type": "TIMMBackbone", "model_name": "hf-hub:someone/else"}, ["hf-hub:someone/else"]),
        ({"type": "VPD"}, ["VPD"]),
        ({"type": ["ResNet"]}, ["['ResNet']"]),
    ],
)
def test_what_is_not_registered_or_never_built_is_named(section, expected):
    assert unregistered({"backbone": section}) == expected
