import pytest
import torch
from support.small_recipes import recipe_of
from support.small_runs import TINY_NETWORK

from clipes.tasks.training.building import build_network, register_modules
from clipes_core.errors import ConfigError, WeightsError


def built(path, init="none"):
    recipe = recipe_of(path, init=init)
    with register_modules(recipe):
        return build_network(recipe)


def test_custom_imports_that_fail_are_reported(tiny_config):
    with pytest.raises(ConfigError, match=r"^train\.mmseg_config: its custom_imports cannot be imported: ImportError"):
        built(tiny_config('custom_imports = dict(imports=["nonesuch"])'))


def test_custom_imports_cannot_end_the_process(tiny_config, tmp_path, monkeypatch):
    (tmp_path / "a_module_that_ends_all.py").write_text("import os\nos._exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"its custom_imports cannot be imported: SystemExit: os\._exit\(0\)$"):
        built(tiny_config('custom_imports = dict(imports="a_module_that_ends_all")'))


def test_a_model_that_cannot_be_loaded_again_is_refused(tiny_config):
    with pytest.raises(ConfigError, match="its model has a part that cannot be saved: the key 1 is"):
        built(tiny_config('model = dict(test_cfg=dict(mode="whole", names={1: "one"}))'))


def test_the_error_for_an_unregistered_module_names_it(tiny_config):
    with pytest.raises(ConfigError, match=r"^train\.mmseg_config: its model has the type 'NoHead', which is not "):
        built(tiny_config('model = dict(decode_head=dict(type="NoHead"))'))


def test_initial_weights_of_another_network_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"weights\.pth: the file does not fit the network of train\.mmseg_config: "):
        built(TINY_NETWORK, init=str(tmp_path / "weights.pth"))


def test_initial_weights_that_were_replaced_after_the_planning_are_refused(tmp_path):
    weights = tmp_path / "weights.pth"
    recipe = recipe_of(TINY_NETWORK, init="none")
    with register_modules(recipe):
        torch.save(build_network(recipe).backbone.state_dict(), weights)
    planned = recipe_of(TINY_NETWORK, init=str(weights))
    with register_modules(planned):
        tensors = build_network(planned).backbone.state_dict()
        torch.save({name: tensor + 1 for name, tensor in tensors.items()}, weights)
        with pytest.raises(WeightsError, match=r"^train\.init .*weights\.pth: the weights were replaced during"):
            build_network(planned)
