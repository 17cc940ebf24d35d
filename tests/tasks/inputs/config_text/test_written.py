import pytest

from clipes.tasks.inputs.config_text.written import complete_yaml, given_yaml, value_yaml
from clipes.tasks.inputs.configs import load_config
from clipes_core.config.run import parse_config
from clipes_core.errors import ConfigError

HARD_TEXTS = ["yes", "1e5", "a: b", "# no comment", "{} on a \u00e4", "'", "- x {}", "null", "0x10", "2024-05-01", "~"]


@pytest.mark.parametrize("name", ["demo", "voc12", "coco14"])
def test_the_complete_config_is_read_back_unchanged(configs, tmp_path, name):
    config = load_config(str(configs / f"{name}.yaml"), ["dataset.root=/data", "prompts.template=['a {}.', 'b: {}']"])
    (tmp_path / "again.yaml").write_text(complete_yaml(config))
    assert load_config(str(tmp_path / "again.yaml")) == config


@pytest.mark.parametrize("text", HARD_TEXTS)
@pytest.mark.parametrize("written", [complete_yaml, given_yaml])
def test_a_text_that_yaml_could_misread_stays_the_same_text(tmp_path, written, text):
    runner = {"kind": "ray", "address": text}
    dataset = {"format": "list", "split": f"/{text}", "classes": [text, "dog"]}
    config = parse_config({"name": "a", "store": "/s", "dataset": dataset, "execution": {"runner": runner}})
    (tmp_path / "again.yaml").write_text(written(config))
    assert load_config(str(tmp_path / "again.yaml")) == config


@pytest.mark.parametrize("text", ["${HOME}", "a ${b", "???"])
@pytest.mark.parametrize("value", [lambda text: text, lambda text: ["a", text], lambda text: {"a": text}])
def test_a_text_that_omegaconf_would_replace_is_refused(text, value):
    with pytest.raises(ConfigError, match="a config cannot contain the text"):
        value_yaml(value(text))


def test_the_stated_settings_are_printed_with_their_defaults():
    config = parse_config({"name": "a", "cam": {"power": 1, "refine": "caa"}, "dataset": {"root": "/x"}})
    assert given_yaml(config).splitlines() == [
        "name: a",
        "dataset:",
        "  root: /x  # default: null",
        "cam:",
        "  refine: caa  # the default",
        "  power: 1  # default: 2",
    ]
