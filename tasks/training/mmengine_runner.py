"""Adapt MMEngine's runner and optimizer wrappers to clipes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner
from torch import nn

from clipes.tasks.training.building import translate_recipe_errors


class TrainingRunner(Runner):
    """MMEngine's runner with three changes.

    The model stays on its device. A broken config raises ConfigError, whose message names the part of the config that
    cannot be built. The runner does not examine the compilers of this machine.
    """

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """Do nothing: clipes does not show the log, and MMEngine's own method prints an error if there is no gcc."""

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        """Return the model unchanged. If the model needs a wrapper, the caller has already wrapped the model."""
        return model  # MMEngine's own method would move the model to any GPU that it finds

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimizer wrapper, or raise ConfigError."""
        with translate_recipe_errors("optim_wrapper"):
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedulers, or raise ConfigError."""
        with translate_recipe_errors("param_scheduler"):
            return super().build_param_scheduler(scheduler)

    def register_custom_hooks(self, hooks: Any) -> None:
        """Build and register the custom hooks, or raise ConfigError."""
        with translate_recipe_errors("custom_hooks"):
            super().register_custom_hooks(hooks)


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """An optimizer wrapper that runs the forward pass in bfloat16, on any device and without scaling the loss."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Use mixed precision with bfloat16 during the block. MMEngine computes the forward pass in this block."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield


OPTIM_WRAPPER_OF_PRECISION: Mapping[str, Mapping[str, Any]] = {
    "fp32": {"type": "OptimWrapper"},
    "bf16": {"type": "Bf16OptimWrapper"},
    "fp16": {"type": "AmpOptimWrapper", "dtype": "float16", "loss_scale": "dynamic"},
}
