import json
import sys

import pytest
from mmengine.registry import DefaultScope

from clipes.tasks.models.network_config import (
    MODELS,
    as_text,
    block_imports,
    from_text,
    unregistered,
    without_initial_weights,
)


def test_a_config_is_restored_with_its_tuples():
    config = {"type": "ResNet", "strides": (1, 2), "nested": [{"arch": ((1, [2]), None)}], "dropout": 0.1, "none": ()}
    text = as_text(config)
    assert json.loads(text)["type"] == "ResNet"
    assert from_text(text) == config
    assert from_text(json.dumps({"a": [1, 2]})) == {"a": [1, 2]}


def test_values_that_json_cannot_represent_are_errors():
    with pytest.raises(TypeError, match="set is not JSON serializable"):
        as_text({"strides": {1, 2}})
    with pytest.raises(TypeError, match="the key 1 is not text"):
        as_text({"names": {1: "one"}})
    with pytest.raises(ValueError, match="Expecting value"):
        from_text("no JSON")
    with pytest.raises(ValueError, match="nested too deeply"):
        from_text("[" * 100_000 + "]" * 100_000)
    assert from_text('{"__tuple__": 5}') == {"__tuple__": 5}


def test_initial_weights_are_removed_everywhere():
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
def test_timm_reads_and_downloads_nothing(name):
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
        ({"type": "SETRUPHead", "norm_layer": {"type": "LN", "eps": 1e-6}, "model_name": "a:b"}, []),
        ({"type": "VPD"}, ["VPD"]),
        ({"type": ["ResNet"]}, ["['ResNet']"]),
    ],
)
def test_unregistered_names_are_found(section, expected):
    assert unregistered({"backbone": section}) == expected


def test_nothing_is_imported_to_look_up_an_unregistered_name(tmp_path, monkeypatch):
    """Look up a name in the wrong registry, and a registered name as a scope."""
    for name in ("OHEMPixelSampler", "FCNHead"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for config in ({"type": "OHEMPixelSampler"}, {"type": "EncoderDecoder", "_scope_": "FCNHead"}):
        assert unregistered(config) == []
        with (
            DefaultScope.overwrite_default_scope("mmseg"),
            block_imports(),
            pytest.raises((KeyError, RuntimeError, TypeError)),
        ):
            MODELS.build(config)
        assert "FCNHead" not in sys.modules
