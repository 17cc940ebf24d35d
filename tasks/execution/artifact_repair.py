"""Repair the damaged artifacts of a stage: discard each one, and rebuild it if another shard reads it."""

import logging
import threading
from collections.abc import Callable

from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import BrokenArtifactError

logger = logging.getLogger(__name__)


class ArtifactRepair:
    """Repairs each damaged artifact of a stage once, however many shards find the damage.

    Args:
        store: store that holds the artifacts.
    """

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._lock = threading.RLock()  # a rebuild may find and repair another damaged artifact of the same stage
        self._repaired = set[str]()

    def repair(self, broken: BrokenArtifactError, rebuild: Callable[[], None] | None = None) -> None:
        """Discard a damaged artifact and rebuild it; do nothing if another shard has already repaired it.

        Args:
            broken: error that names the damaged artifact.
            rebuild: function that makes the artifact again; None if the shard that found the damage makes it itself.
        """
        with self._lock:
            if broken.uri in self._repaired:
                return
            logger.warning("%s %s: discarding and rebuilding it", broken.uri, broken.reason)
            self._store.discard(broken.uri)
            if rebuild is not None:
                rebuild()
            self._repaired.add(broken.uri)  # only after success: after a failure, the next attempt repairs it
