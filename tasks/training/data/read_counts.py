"""Count the files that a training process reads, and collect the ids of unusable photos."""

from collections import Counter
from typing import Any

from clipes.tasks.training.data.cached_files import FileRead


class ReadCounts:
    """Counts the files that one training process has read since it started or resumed the training."""

    def __init__(self) -> None:
        self._files, self._bytes = Counter[str](), Counter[str]()
        self._seconds = 0.0
        self._unusable: set[str] = set()

    def add(self, reads: tuple[FileRead, ...], unusable: tuple[str, ...]) -> None:
        """Count the files that were read for a sample, and add the unusable photos that the sample replaces."""
        for read in reads:
            self._files[read.source] += 1
            self._bytes[read.source] += read.size_bytes
            self._seconds += read.seconds
        self._unusable.update(unusable)

    @property
    def unusable(self) -> list[str]:
        """Unusable photos as texts 'image_id: reason', in sorted order."""
        return sorted(self._unusable)

    def plain(self) -> dict[str, Any]:
        """Return plain values: files read per source, MB fetched, seconds spent on reads, and unusable photos."""
        return {
            **{source: self._files[source] for source in ("local", "hit", "fetched")},
            "fetched_mb": self._bytes["fetched"] / 1e6,
            "read_seconds": self._seconds,
            "unusable_photos": self.unusable,
        }
