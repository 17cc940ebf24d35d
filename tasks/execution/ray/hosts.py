"""The machines of the cluster, what the run expects of them, and which of them it refuses."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ray.exceptions import RayActorError, RayError, RayTaskError

from clipes.tasks.execution.ray.handshake import (
    PROBE,
    HandshakeRequest,
    HostFacts,
    differences,
    host_versions,
    readable_photo,
)
from clipes.tasks.execution.ray.nodes import Node, WorkerRequest, known_nodes
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.storage.files import remove, write_file
from clipes.tasks.storage.filesystem import first_line
from clipes.tasks.storage.layout import claims_uri, temporary_name
from clipes.tasks.storage.listing import find_file
from clipes.tasks.storage.retry_policy import ONE_MINUTE
from clipes_core.config.run import RunConfig
from clipes_core.errors import ClipesError, ConfigError, TransientError

logger = logging.getLogger(__name__)


class Hosts:
    """Checks the machines of the cluster by handshakes. A machine that does not suit the run gets no work.

    Until `accept_late` is set, `check` raises an error for such a machine. Later, clipes logs a warning.

    Args:
        config: configuration of the run.
        probes: whether to check that what a worker writes is at once visible here, and that it can open a photo.
        photos: photos of the run; empty if they are not known.

    Attributes:
        banned: ids of the refused machines; they get no workers.
        weights: digest of CLIP's weights, as the first worker that runs networks has found it; empty before.
        accept_late: true once the run has started.
    """

    def __init__(self, config: RunConfig, probes: bool, photos: Sequence[Photo] = ()) -> None:
        self._config, self._probes, self._photos = config, probes, photos if probes else ()
        self._photo = readable_photo(self._photos)
        self.banned, self.weights, self.accept_late = set[str](), "", False
        self._versions, self._lock = host_versions(), threading.Lock()
        self._refusals: dict[str, str] = {}
        self._nodes, self._answered = dict[str, Node](), set[str]()
        self._probe, self._answers = self._file("ray") if probes else "", dict[str, str]()

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Write the file that workers look for, and remove all files of the probe after the block."""
        try:
            if self._probes:
                ONE_MINUTE.call(write_file, self._probe, PROBE)
                self.look()
            yield
        finally:
            if self._probes:
                with self._lock:
                    files = [self._probe, *self._answers.values()]
                _remove_probes(files)

    def look(self) -> list[Node]:
        """Return the living machines that were not refused.

        Look for the answer of each new machine, so that the probe fails if this host remembers that it is missing.
        """
        nodes = known_nodes()
        with self._lock:  # several threads look
            for node in nodes:
                if node.node_id not in self._nodes:
                    self._answers[node.node_id] = self._file(f"ray-{node.node_id}")
                    if self._probes:
                        try:
                            find_file(self._answers[node.node_id])
                        except ClipesError as exc:  # `suits` reports a store that keeps failing
                            logger.warning("cannot look for the answer of the machine %s yet: %s", node.name, exc)
                    self._nodes[node.node_id] = node
        return [node for node in nodes if node.alive and node.node_id not in self.banned]

    def node(self, node_id: str) -> Node:
        """Return a machine by its id."""
        if node_id not in self._nodes:
            self.look()
        return self._nodes[node_id]

    def handshake_request(self, node: Node, request: WorkerRequest) -> HandshakeRequest:
        """Return what a worker on a machine must find out. Only a machine that never suited the run opens a photo."""
        clip = self._config.clip if request.networks else None
        if clip is not None and request.device == "cpu":  # even on a machine with GPUs
            clip = clip.model_copy(update={"device": "cpu"})
        photo = None if node.node_id in self._answered else self._photo
        return HandshakeRequest(clip, self._probe, self._answers[node.node_id], photo)

    def suits(self, node_id: str, facts: HostFacts, request: WorkerRequest) -> bool:
        """Return whether a machine suits the run, as the answer of a worker shows. If not, give it no more workers.

        Raises:
            TransientError: a temporary problem leaves this open, so that the handshake must be repeated.
        """
        if facts.temporary:
            raise TransientError(facts.problem)
        with self._lock:
            self._check_photo(facts.unreadable)
            expected = HostFacts(self._versions, request.device, self.weights if request.networks else "")
            found = differences(facts, expected) or self._unseen(node_id)
            if not found:
                self.weights = self.weights or facts.weights
                return True
            self.banned.add(node_id)
            name = self._nodes[node_id].name
            self._refusals[node_id] = f"the machine {name} of the Ray cluster does not suit the run: {'; '.join(found)}"
            if self.accept_late:
                logger.warning("%s; it gets no work", self._refusals[node_id])
            return False

    def _check_photo(self, unreadable: Photo | None) -> None:
        """Raise TransientError if this machine cannot open a photo any more either, and choose another photo."""
        if unreadable is not None:
            self._photo = readable_photo(self._photos)
            if self._photo != unreadable:
                raise TransientError(f"{unreadable.uri}, which it was to open, has changed or disappeared")

    def selector(self) -> dict[str, str]:
        """Return the label selector that keeps workers off the refused machines; empty if there are none."""
        with self._lock:
            refused = ", ".join(sorted(self.banned))
        return {"ray.io/node-id": f"!in({refused})"} if refused else {}

    def refusal(self, node_id: str) -> str:
        """Return why a machine was refused."""
        return self._refusals[node_id]

    def check(self) -> None:
        """Raise ConfigError if a machine was refused before the run started; one line per machine."""
        if self._refusals and not self.accept_late:
            raise ConfigError("\n".join(sorted(self._refusals.values())))

    def note_failed_start(self, node: str, error: RayError) -> None:
        """Log that a worker died at its start. Refuse the cluster if a worker's code cannot be loaded there."""
        if isinstance(error, RayTaskError) or (isinstance(error, RayActorError) and error.actor_init_failed):
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            self._refusals[""] = (
                f"a worker of the Ray cluster could not start ({lines[-1]}): install the same clipes and the same "
                "packages on all machines"
            )
        if self.accept_late:
            logger.warning("a worker on %s died at its start: %s", node or "the cluster", first_line(error))

    def _file(self, name: str) -> str:
        return claims_uri(self._config.store, temporary_name(name))  # where `clipes gc` finds what a killed run leaves

    def _unseen(self, node_id: str) -> list[str]:
        """Return what is wrong if the file that a worker has just written cannot be seen here.

        Raises:
            TransientError: the store does not answer.
        """
        if not self._probes or node_id in self._answered:
            return []
        try:
            if ONE_MINUTE.call(find_file, self._answers[node_id]) is None:
                return [
                    "a file that it has just written to the store is not visible here: name a store that all machines "
                    "share, and mount NFS with lookupcache=positive"
                ]
        except TransientError:
            raise
        except ClipesError as exc:
            return [str(exc)]
        self._answered.add(node_id)
        return []


def _remove_probes(files: Sequence[str]) -> None:
    """Remove the files of the probe. If the store fails, `clipes gc` removes them later."""
    for uri in files:
        try:
            remove(uri)
        except ClipesError as exc:
            logger.warning("a file that only tested the store stays in it until `clipes gc` removes it: %s", exc)
