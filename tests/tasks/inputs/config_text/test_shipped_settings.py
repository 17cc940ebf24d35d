import pytest
import yaml

from clipes.tasks.inputs.config_text.shipped_settings import with_model_settings
from clipes.tasks.inputs.configs import config_of_overrides, load_config
from clipes.tasks.machine.shipped_files import CLIP_MODELS
from clipes_core.config.run import parse_config
from clipes_core.errors import ConfigError

DEMO = {"model": "clipes-demo", "pretrained": "clipes-demo"}


def blocks(**sections):
    return with_model_settings(parse_config({"name": "a", **sections})).cam.attention_blocks


def test_a_model_brings_its_settings():
    assert blocks(clip=DEMO) == 6
    assert blocks(clip=DEMO, cam={"power": 1}) == 6
    assert with_model_settings(parse_config({"name": "a", "clip": DEMO})).prompts.template == "a bright photo of a {}."


def test_a_stated_value_counts_even_if_it_is_the_default():
    assert blocks(clip=DEMO, cam={"attention_blocks": 8}) == 8


def test_other_models_have_the_defaults():
    assert blocks() == blocks(clip={"model": "../models/clipes-demo"}) == 8


def test_every_way_to_read_a_config_applies_the_settings_of_the_model(configs):
    assert load_config(str(configs / "demo.yaml")).cam.attention_blocks == 6
    assert load_config(str(configs / "demo.yaml"), ("cam.attention_blocks=5",)).cam.attention_blocks == 5
    assert config_of_overrides({"name": "a", "clip": DEMO}, ()).cam.attention_blocks == 6


@pytest.mark.parametrize("model", ["RN50", "RN101-quickgelu", "RN50x4"])
def test_a_resnet_is_not_refined_unless_the_config_asks_for_it(model, configs):
    config = load_config(str(configs / "demo.yaml"), (f"clip.model={model}", "clip.pretrained=random:0"))
    assert (config.cam.refine, config.clip.pooling) == ("none", "attention")
    with pytest.raises(ConfigError, match=rf"^cam\.refine caa: {model} is a ResNet, which has no attention"):
        load_config(str(configs / "demo.yaml"), (f"clip.model={model}", "cam.refine=caa"))


def test_an_unknown_model_is_reported_by_who_builds_it():
    config = parse_config({"name": "a", "clip": {"model": "RN51"}})
    assert with_model_settings(config) == config


def test_the_settings_that_clipes_ships_are_valid():
    files = list(CLIP_MODELS.glob("*.yaml"))
    assert files
    for file in files:
        assert parse_config({"name": "a", **yaml.safe_load(file.read_text())})
