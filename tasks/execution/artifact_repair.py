"""Repair the damaged artifacts of a stage during a run: discard them, so that they are made again."""

import logging
import threading
from collections.abc import Callable

from clipes.tasks.plan.jobs import ShardRecord
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import BrokenArtifactError, TransientError

logger = logging.getLogger(__name__)


class ArtifactRepair:
    """Repairs each damaged artifact of a stage once, even if several shards find the damage.

    Args:
        store: store that holds the artifacts.
        ledger: ledger of the run.
        make: function that makes a shard of the stage, given the number of the shard.
    """

    def __init__(self, store: ArtifactStore, ledger: Ledger, make: Callable[[int], ShardRecord]) -> None:
        self._store, self._ledger, self._make = store, ledger, make
        self._lock = threading.RLock()  # a rebuild may find and repair another damaged artifact of the same stage
        self._repaired = set[str]()

    def discard(self, broken: BrokenArtifactError) -> None:
        """Discard a damaged artifact, unless it has already been repaired. The caller must make the artifact again.

        Args:
            broken: error that names the artifact.
        """
        with self._lock:
            if broken.uri not in self._repaired:
                self._discard(broken)
                self._repaired.add(broken.uri)

    def rebuild(self, broken: BrokenArtifactError, shard: int) -> None:
        """Discard a damaged artifact and make it again, unless it has already been repaired.

        Args:
            broken: error that names the artifact.
            shard: number of the artifact's shard.

        Raises:
            TransientError: some photos of the shard failed for a transient cause. The ledger records the shard as
                failed.
            Exception: an error of the function that makes a shard.
        """
        with self._lock:
            if broken.uri not in self._repaired:
                self._discard(broken)
                self._make_again(shard)
                self._repaired.add(broken.uri)  # only after success: after a failure, the next attempt repairs it

    def _discard(self, broken: BrokenArtifactError) -> None:
        logger.warning("%s %s: discarding and rebuilding it", broken.uri, broken.reason)
        self._store.discard(broken.uri)

    def _make_again(self, shard: int) -> None:
        record = self._make(shard)
        self._ledger.finished(record, attempt=1)
        try:
            record.check()
        except TransientError as exc:
            self._ledger.failed(record.stage, shard, 1, exc)
            raise
