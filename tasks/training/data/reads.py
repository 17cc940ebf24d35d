"""Statistics of the files that a training run reads, and of the photos that it cannot use."""

from collections import Counter
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from clipes.tasks.training.data.cached_files import FileRead
from clipes_core.errors import StageError


class Reads:
    """Counts the files that one training process has read for its samples since it started or resumed the training."""

    def __init__(self) -> None:
        self._files, self._bytes = Counter[str](), Counter[str]()
        self._seconds = 0.0
        self._unusable: set[str] = set()

    def add(self, reads: tuple[FileRead, ...], unusable: tuple[str, ...]) -> None:
        """Count the files read for a sample, and the unusable photos that the sample replaces."""
        for read in reads:
            self._files[read.source] += 1
            self._bytes[read.source] += read.size_bytes
            self._seconds += read.seconds
        self._unusable.update(unusable)

    @property
    def unusable(self) -> list[str]:
        """The unusable photos, each with the reason, sorted."""
        return sorted(self._unusable)

    def plain(self) -> dict[str, Any]:
        """Return by name: files per source, MB fetched from stores, seconds spent reading, and unusable photos."""
        return {
            **{source: self._files[source] for source in ("local", "hit", "fetched")},
            "fetched_mb": self._bytes["fetched"] / 1e6,
            "read_seconds": self._seconds,
            "unusable_photos": self.unusable,
        }


class ReadsHook(Hook):
    """Counts the reads of each iteration, and stops the training if too many photos are unusable.

    The hook sees only the photos that its own process has loaded since the process started or resumed the training.
    After enough epochs, it has seen all photos.

    Args:
        reads: counter to which the reads are added.
        photos: number of photos to train on.
        max_failure_rate: highest permitted share of unusable photos, in [0, 1].
    """

    def __init__(self, reads: Reads, photos: int, max_failure_rate: float) -> None:
        self._reads, self._photos, self._max_failure_rate = reads, photos, max_failure_rate

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Count the reads of a batch, and check the share of unusable photos.

        Raises:
            StageError: too many photos are unusable.
        """
        for sample in data_batch["data_samples"]:
            self._reads.add(sample.reads, sample.unusable)
        unusable = self._reads.unusable
        if len(unusable) > self._max_failure_rate * self._photos:
            raise StageError(
                f"{len(unusable)} of {self._photos} photos are unusable, more than execution.max_failure_rate "
                f"{self._max_failure_rate:g} permits; the first: {unusable[0]}\n"
                "Raise the rate to resume the training from its newest checkpoint, or repair the photos to restart it."
            )
