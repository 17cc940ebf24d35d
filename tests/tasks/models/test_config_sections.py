from clipes.tasks.models.config_sections import config_sections, is_timm


def test_every_dict_in_a_config_is_yielded_once():
    loss = {"type": "Loss"}
    config = {"type": "Model", "heads": [{"losses": (loss, 1.0)}, "none"], "depth": 50}
    assert list(config_sections(config)) == [config, config["heads"][0], loss]
    assert list(config_sections("Model")) == []


def test_timm_is_recognised_with_and_without_a_scope():
    assert is_timm({"type": "TIMMBackbone"})
    assert is_timm({"type": "mmpretrain.TIMMBackbone"})
    assert not is_timm({"type": "ResNet"})
    assert not is_timm({})
