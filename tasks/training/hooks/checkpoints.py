"""Write the checkpoints of a training run, keep the newest ones and the best one, and resume from the newest."""

import io
import logging
import posixpath
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from clipes.tasks.storage.checksums.seals import BLANK_SEAL, check_seal, seal_file
from clipes.tasks.storage.files import read_file, remove, write_atomically
from clipes.tasks.storage.filesystem import first_line, translate_write_errors
from clipes.tasks.storage.listing import list_names
from clipes.tasks.storage.retry_policy import ONE_MINUTE
from clipes.tasks.training.hooks.clock import Clock
from clipes.tasks.training.hooks.curve import Curve
from clipes_core.errors import BrokenArtifactError, StageError

NAME = re.compile(r"(\d{8})\.pt")
BEST = "best.pt"

logger = logging.getLogger(__name__)


class CheckpointFolder:
    """The folder that holds the checkpoints of one training run.

    If the store does not answer, a write is retried for about a minute, because a failed write stops the training.

    Args:
        uri: fsspec URI of the folder.
        keep: number of newest checkpoints to keep, in addition to the best one.
        training: text that identifies the training. Each checkpoint except best.pt states it.
    """

    def __init__(self, uri: str, keep: int, training: str) -> None:
        self.uri, self._keep, self._training = uri, keep, training

    def write(self, iteration: int, state: Mapping[str, Any]) -> None:
        """Write a checkpoint atomically. Then remove the oldest checkpoints.

        This checkpoint, the `keep - 1` checkpoints before it, and best.pt remain. So do checkpoints after it, which the
        training has skipped.

        Args:
            iteration: number of iterations done. It is the name of the file, for example 00000020.pt.
            state: content of the checkpoint: tensors and plain values.

        Raises:
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        name = f"{iteration:08d}.pt"
        ONE_MINUTE.call(self._put, name, {**state, "training": self._training})
        ONE_MINUTE.call(self._prune, name)

    def write_best(self, state: Mapping[str, Any]) -> None:
        """Write best.pt atomically; if the file exists, replace it. The setting `train.init` accepts this file.

        Args:
            state: content of the file. The weights are under the key `state_dict`.

        Raises:
            StorageError, TransientError: for the same reasons as `write`.
        """
        ONE_MINUTE.call(self._put, BEST, state)

    def load_newest(self) -> dict[str, Any] | None:
        """Return the content of the newest intact checkpoint of this training, or None if there is none.

        Damaged checkpoints, and checkpoints of other trainings, are skipped with a warning. Checkpoints of earlier
        versions do not state their training, and are accepted. Loading a file does not execute code from it.

        Raises:
            StorageError, TransientError: for the same reasons as `write`.
        """
        for name in reversed(self._names()):
            try:
                return self._load(posixpath.join(self.uri, name))
            except BrokenArtifactError as broken:
                logger.warning(
                    "%s %s: clipes tries the next older checkpoint; if no older checkpoint exists, the training starts "
                    "from iteration 0",
                    broken.uri,
                    broken.reason,
                )
        return None

    def _load(self, uri: str) -> dict[str, Any]:
        data = read_file(uri)
        check_seal(uri, data)
        try:
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            training = state.get("training", self._training)
        except MemoryError:
            raise
        except Exception as exc:  # for a damaged file, torch may raise anything
            raise BrokenArtifactError(uri, f"cannot be read ({first_line(exc)})") from exc
        if training != self._training:
            raise BrokenArtifactError(uri, "belongs to another training")
        return state

    def _names(self) -> list[str]:
        """Return the file names of all checkpoints except best.pt, oldest first."""
        return [name for name in list_names(self.uri) or () if NAME.fullmatch(name)]

    def _prune(self, newest: str) -> None:
        done = [name for name in self._names() if name <= newest]
        for name in done[: -self._keep]:
            remove(posixpath.join(self.uri, name))

    def _put(self, name: str, state: Mapping[str, Any]) -> None:
        uri = posixpath.join(self.uri, name)
        with write_atomically(uri) as temporary, translate_write_errors(uri):
            torch.save(dict(state), temporary)
            _seal(temporary)


def _seal(path: Path) -> None:
    """Seal a checkpoint: the seal is the comment at the end of the zip archive that torch has written."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = BLANK_SEAL.encode()
    seal_file(path)


class CheckpointHook(Hook):
    """Resumes the training from the newest checkpoint, and writes checkpoints at regular intervals and at the end.

    A checkpoint does not hold the states of random generators, because the generators are seeded again and again:
    `RandomnessHook` seeds them before each iteration, and the data set seeds them for each sample.

    Args:
        folder: folder that holds the checkpoints.
        every: number of iterations between two checkpoints.
        curve: training curve. It is saved in each checkpoint except best.pt, and restored when the training resumes.
        clock: clock that is paused while a checkpoint is written.
        writes: if true, this process writes the checkpoints. Set it in exactly one process of a training run.
    """

    priority = "LOWEST"  # runs after the schedulers' step, so that a checkpoint holds their state after it

    def __init__(self, folder: CheckpointFolder, every: int, curve: Curve, clock: Clock, writes: bool) -> None:
        self._folder, self._every, self._curve, self._clock, self._writes = folder, every, curve, clock, writes

    def before_train(self, runner: Runner) -> None:
        """Restore the newest checkpoint, if there is one.

        Raises:
            StageError: the checkpoint does not fit the network, the optimizer or the schedule.
            StorageError, TransientError: for the same reasons as `CheckpointFolder.write`.
        """
        state = self._folder.load_newest()
        if state is None:
            return
        try:
            self._restore(runner, state)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as exc:  # a checkpoint of an earlier version does not state its training, so it may be any
            raise StageError(
                f"the newest checkpoint in {self._folder.uri} does not fit the training ({first_line(exc)}): "
                "delete this folder and run again"
            ) from exc
        if self._writes:
            logger.info("the training resumes at iteration %d of %d", runner.iter, runner.max_iters)

    def _restore(self, runner: Runner, state: Mapping[str, Any]) -> None:
        unwrapped_model(runner).load_state_dict(state["model"])
        runner.optim_wrapper.load_state_dict(state["optimizer"])
        for scheduler, saved in zip(runner.param_schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        lost = self._curve.restore(state["curve"], state.get("validation"))  # earlier versions did not state it
        if lost and self._writes:
            logger.warning(
                "the training curve loses the mIoU of the validations so far (%d): the photos of the validations, "
                "their labels or their true masks have changed, or an earlier version of clipes wrote the checkpoint",
                lost,
            )
        loop = runner.train_loop
        loop._iter = state["iteration"]  # a private attribute, which MMEngine's Runner.resume sets too
        runner.optim_wrapper.initialize_count_status(runner.model, loop.iter, loop.max_iters)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Write a checkpoint if one is due. Write best.pt if this iteration has the highest mIoU so far."""
        done = batch_idx + 1
        best, due = self._curve.best_iteration == done, done % self._every == 0 or done == runner.max_iters
        if not self._writes or not (best or due):
            return
        with self._clock.paused(self._clock.writes):
            if best:
                self._folder.write_best({"iteration": done, "state_dict": unwrapped_model(runner).state_dict()})
            if due:
                self._folder.write(done, self._state(runner, done))

    def _state(self, runner: Runner, done: int) -> dict[str, Any]:
        return {
            "iteration": done,
            "model": unwrapped_model(runner).state_dict(),
            "optimizer": runner.optim_wrapper.state_dict(),
            "schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers],
            "curve": self._curve.plain(),
            "validation": self._curve.validation,
        }


def unwrapped_model(runner: Runner) -> torch.nn.Module:
    """Return the model. If it is wrapped for distributed training, return the module inside the wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
