"""Stop a training run if too many of its photos are unusable."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from clipes.tasks.training.data.read_counts import ReadCounts
from clipes_core.config.execution import describe_limit, permitted_failures
from clipes_core.errors import StageError


class UnusablePhotosHook(Hook):
    """Counts the files read for each batch, and stops the training if too many photos are unusable.

    The hook counts only the photos that its own process has loaded since this process started or resumed the training.

    Args:
        reads: counter to which the reads and the unusable photos are added.
        photos: number of photos to train on.
        max_failure_rate: highest permitted share of unusable photos, in [0, 1].
        tolerated_failures: number of photos that may be unusable whatever their share; see `permitted_failures`.
    """

    def __init__(self, reads: ReadCounts, photos: int, max_failure_rate: float, tolerated_failures: int) -> None:
        self._reads, self._photos, self._limits = reads, photos, (max_failure_rate, tolerated_failures)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Count the files read for a batch, and check the share of unusable photos.

        Raises:
            StageError: too many photos are unusable.
        """
        for sample in data_batch["data_samples"]:
            self._reads.add(sample.reads, sample.unusable)
        unusable = self._reads.unusable
        permitted = permitted_failures(self._photos, *self._limits)
        if len(unusable) > permitted:
            raise StageError(
                f"{len(unusable)} of {self._photos} photos are unusable, {describe_limit(permitted, *self._limits)}; "
                f"the first: {unusable[0]}\n"
                "Either raise this limit and rerun: the training resumes from its newest checkpoint. Or repair the "
                "photos and rerun: the training starts from iteration 0."
            )
