"""How the photos and masks of a training came: counted over its samples, which carry it with them."""

from collections import Counter
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from clipes.tasks.training.data.cached_files import FileRead
from clipes_core.errors import StageError


class Reads:
    """Files that one process has read for its samples, in this attempt."""

    def __init__(self) -> None:
        self._files, self._bytes = Counter[str](), Counter[str]()
        self._seconds = 0.0
        self._unusable: set[str] = set()

    def add(self, reads: tuple[FileRead, ...], unusable: tuple[str, ...]) -> None:
        """Count a sample's files, and the photos that it stands for."""
        for read in reads:
            self._files[read.source] += 1
            self._bytes[read.source] += read.size_bytes
            self._seconds += read.seconds
        self._unusable.update(unusable)

    @property
    def unusable(self) -> list[str]:
        """The photos that samples stood for, and why, sorted."""
        return sorted(self._unusable)

    def plain(self) -> dict[str, Any]:
        """The counts: files by where they came from, MB fetched from a store, seconds that their readers waited."""
        return {
            **{source: self._files[source] for source in ("local", "hit", "fetched")},
            "fetched_mb": self._bytes["fetched"] / 1e6,
            "read_seconds": self._seconds,
            "unusable_photos": self.unusable,
        }


class ReadsHook(Hook):
    """Counts what the samples of each step say, and ends a training of which too many photos cannot be used.

    Those of this process since it began, which in time are all.

    Args:
        reads: gets the counts.
        photos: how many there are to train on.
        max_failure_rate: photos that cannot be used / photos that the training bears.
    """

    def __init__(self, reads: Reads, photos: int, max_failure_rate: float) -> None:
        self._reads, self._photos, self._max_failure_rate = reads, photos, max_failure_rate

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """The samples are there.

        Raises:
            StageError: too many photos cannot be used.
        """
        for sample in data_batch["data_samples"]:
            self._reads.add(sample.reads, sample.unusable)
        unusable = self._reads.unusable
        if len(unusable) > self._max_failure_rate * self._photos:
            raise StageError(
                f"{len(unusable)} of {self._photos} photos cannot be used, more than execution.max_failure_rate "
                f"{self._max_failure_rate:g} bears; the first: {unusable[0]}\n"
                "With a higher rate the training goes on from its newest checkpoint; with other photos it begins anew."
            )
