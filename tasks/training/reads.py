"""How the photos and masks of a training came: counted over its samples, which carry it with them."""

from collections import Counter
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from tasks.training.cached_files import FileRead


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

    def plain(self) -> dict[str, Any]:
        """The counts: files by where they came from, MB fetched from a store, seconds that their readers waited."""
        return {
            **{source: self._files[source] for source in ("local", "hit", "fetched")},
            "fetched_mb": self._bytes["fetched"] / 1e6,
            "read_seconds": self._seconds,
            "unusable_photos": sorted(self._unusable),
        }


class ReadsHook(Hook):
    """Counts what the samples of each step say.

    Args:
        reads: gets the counts.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """The samples are there."""
        for sample in data_batch["data_samples"]:
            self._reads.add(sample.reads, sample.unusable)
