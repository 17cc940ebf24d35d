"""Write checkpoints to the store atomically, keep the newest ones and the best, and resume from the newest."""

import io
import logging
import posixpath
import re
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from clipes.tasks.models.state_dicts import BROKEN_FILE
from clipes.tasks.storage.files import read_file, remove, write_atomically
from clipes.tasks.storage.filesystem import translate_write_errors
from clipes.tasks.storage.listing import list_names
from clipes.tasks.storage.retry import ONE_MINUTE
from clipes.tasks.training.hooks.clock import Clock
from clipes.tasks.training.hooks.curve import Curve

NAME = re.compile(r"(\d{8})\.pt")
BEST = "best.pt"

logger = logging.getLogger(__name__)


class CheckpointFolder:
    """The folder with the checkpoints of one training.

    If the store does not answer, writing is retried for about a minute, so that no steps are lost.

    Args:
        uri: URI of the folder; any fsspec URI.
        keep: how many of the newest checkpoints are kept.
    """

    def __init__(self, uri: str, keep: int) -> None:
        self.uri, self._keep = uri, keep

    def write(self, iteration: int, state: Mapping[str, Any]) -> None:
        """Write a checkpoint atomically, then remove the outdated ones.

        Args:
            iteration: number of iterations done.
            state: tensors and plain values.

        Raises:
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        ONE_MINUTE.call(self._put, f"{iteration:08d}.pt", state)
        ONE_MINUTE.call(self._prune)

    def write_best(self, state: Mapping[str, Any]) -> None:
        """Replace the best checkpoint, a file that `train.init` accepts. Raise the errors of `write`."""
        ONE_MINUTE.call(self._put, BEST, state)

    def newest(self) -> dict[str, Any] | None:
        """Return the newest intact checkpoint or None; execute no code in it. Raise the errors of `write`."""
        for name in reversed(self._names()):
            uri = posixpath.join(self.uri, name)
            data = read_file(uri)
            try:
                return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            except BROKEN_FILE as exc:
                logger.warning(
                    "%s is damaged (%s): the training resumes from the checkpoint before it, if there is one", uri, exc
                )
        return None

    def _names(self) -> list[str]:
        """Return the names of the numbered checkpoints, oldest first."""
        return [name for name in list_names(self.uri) or () if NAME.fullmatch(name)]

    def _prune(self) -> None:
        for name in self._names()[: -self._keep]:
            remove(posixpath.join(self.uri, name))

    def _put(self, name: str, state: Mapping[str, Any]) -> None:
        uri = posixpath.join(self.uri, name)
        with write_atomically(uri) as temporary, translate_write_errors(uri):
            torch.save(dict(state), temporary)


class CheckpointHook(Hook):
    """Resumes from the newest checkpoint, and writes one every few iterations and at the end.

    A checkpoint holds no random state, because `RandomnessHook` and the data set derive that state from
    seed and iteration.

    Args:
        folder: folder of the checkpoints.
        every: iterations between two checkpoints.
        curve: curve that is saved and restored with each checkpoint.
        clock: clock that is paused while a checkpoint is written.
        writes: whether this process writes checkpoints; exactly one process of a training does.
    """

    priority = "LOWEST"  # after the scheduler has changed the learning rate

    def __init__(self, folder: CheckpointFolder, every: int, curve: Curve, clock: Clock, writes: bool) -> None:
        self._folder, self._every, self._curve, self._clock, self._writes = folder, every, curve, clock, writes

    def before_train(self, runner: Runner) -> None:
        """Restore the newest checkpoint, if there is one."""
        state = self._folder.newest()
        if state is None:
            return
        unwrapped_model(runner).load_state_dict(state["model"])
        runner.optim_wrapper.load_state_dict(state["optimizer"])
        for scheduler, saved in zip(runner.param_schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self._curve.take_over(state["curve"])
        loop = runner.train_loop
        loop._iter = state["iteration"]  # as Runner.resume does
        runner.optim_wrapper.initialize_count_status(runner.model, loop.iter, loop.max_iters)
        if self._writes:
            logger.info("the training resumes at iteration %d of %d", loop.iter, loop.max_iters)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Write the checkpoints that are due."""
        done = batch_idx + 1
        if not self._writes:
            return
        with self._clock.paused():
            if self._curve.best_iteration == done:
                self._folder.write_best({"iteration": done, "state_dict": unwrapped_model(runner).state_dict()})
            if done % self._every == 0 or done == runner.max_iters:
                self._folder.write(done, self._state(runner, done))

    def _state(self, runner: Runner, done: int) -> dict[str, Any]:
        return {
            "iteration": done,
            "model": unwrapped_model(runner).state_dict(),
            "optimizer": runner.optim_wrapper.state_dict(),
            "schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers],
            "curve": self._curve.plain(),
        }


def unwrapped_model(runner: Runner) -> torch.nn.Module:
    """Return the model without the wrapper that it has if several processes train."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
