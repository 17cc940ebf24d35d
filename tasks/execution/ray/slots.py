"""The slots of a pool, each the place of one worker, and the thread that fills the slots with actors."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

import ray
from ray.exceptions import RayError

from clipes.tasks.execution.ray.actor import ShardWorker
from clipes.tasks.execution.ray.hosts import Hosts
from clipes.tasks.execution.ray.nodes import WorkerRequest
from clipes.tasks.execution.ray.reports import RowCounts
from clipes.tasks.machine.log import log_level
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes_core.errors import StoppedError, TransientError

POLL_SECONDS = 0.1
REPORT_SECONDS = 1.0  # between two reports of a worker
LONGEST_PAUSE_SECONDS = 30.0  # before another actor is started, if actors cannot start
YIELD_SECONDS = 10.0  # for which a slot stays empty so that a worker of another kind gets its room

logger = logging.getLogger(__name__)


class SlotState(Enum):
    """What the actor of a slot does."""

    EMPTY = auto()  # there is no actor
    PENDING = auto()  # Ray looks for a machine with room for the actor
    HANDSHAKE = auto()  # the actor finds out what its machine computes with
    IDLE = auto()
    BUSY = auto()


@dataclass
class Slot:
    """The place of one worker.

    Attributes:
        request: resources of the worker.
        options: further options of the actor, such as its place.
        state: what the actor does.
        node_id: Ray's id of the actor's machine; empty until Ray has placed the actor.
        node: name of this machine.
        device: device of the worker; empty until it has answered.
        name: unique name of the actor, for the counts of rows.
        answer: pending answer of an actor that starts.
        report: pending report of an actor.
        reported: time at which the last report was asked for [s, monotonic].
        start_at: earliest time of the next start [s, monotonic].
        deaths: number of actors that could not start, since the last one that started.
    """

    request: WorkerRequest
    options: dict[str, Any] = field(default_factory=dict)
    state: SlotState = SlotState.EMPTY
    actor: Any = None
    node_id: str = ""
    node: str = ""
    device: str = ""
    name: str = ""
    answer: Any = None
    report: Any = None
    reported: float = 0.0
    start_at: float = 0.0
    deaths: int = 0

    @property
    def started(self) -> bool:
        """True if the worker has answered, so that it can make shards."""
        return self.state in (SlotState.IDLE, SlotState.BUSY)

    @property
    def is_dead(self) -> bool:
        """True if the slot had an actor, and has none now."""
        return self.state is SlotState.EMPTY and self.name != ""

    def start(self, selector: Mapping[str, str]) -> None:
        """Create an actor. Until Ray has room for it, the actor is pending, which an autoscaler sees.

        Args:
            selector: labels of the machines on which the actor may be placed; empty for all machines.
        """
        worker = WorkerSlot(self.request.device, self.request.threads)
        options = {
            "num_cpus": self.request.cpus,
            "num_gpus": self.request.gpus,
            "max_restarts": 0,
            "concurrency_groups": {"reports": 1},
            "scheduling_strategy": "SPREAD",
            **self.options,
        }
        if selector:
            options["label_selector"] = dict(selector)
        self.actor = ray.remote(**options)(ShardWorker).remote(worker, log_level())
        self.name, self.answer, self.report = uuid.uuid4().hex, self.actor.place.remote(), None
        self.state, self.node_id, self.node, self.device = SlotState.PENDING, "", "", ""

    def finish_handshake(self, device: str, suits: bool) -> None:
        """Mark the actor as idle, or end it if its machine does not suit the run.

        Args:
            device: device of the actor.
            suits: whether the machine suits the run.
        """
        self.answer, self.deaths, self.device, self.state = None, 0, device, SlotState.IDLE
        if not suits:
            self.end()

    def give_back(self, name: str, failed: bool) -> None:
        """Mark a busy actor as idle after its call, or end it; do nothing if the slot has another actor by now.

        Args:
            name: name of the actor.
            failed: whether the actor has failed, so that it must be replaced.
        """
        if failed and self.name == name:
            self.end()
        elif self.name == name and self.state is SlotState.BUSY:  # the pool was neither closed nor paused
            self.state = SlotState.IDLE

    def end_for_now(self) -> None:
        """End an actor that cannot start. The pause before the next start doubles each time."""
        self.deaths += 1
        self.start_at = time.monotonic() + min(2.0**self.deaths, LONGEST_PAUSE_SECONDS)
        self.end()

    def end(self) -> None:
        """Kill the actor, if there is one."""
        if self.actor is not None:
            ray.kill(self.actor)
        self.actor = self.answer = self.report = None
        self.state = SlotState.EMPTY


class SlotKeeper:
    """A thread that starts an actor in each empty slot, checks what the actor answers, and fetches reports.

    Args:
        slots: the slots; the pool may add further slots.
        changed: the pool's lock, which is held while the state of a slot changes; the keeper notifies it of changes.
        hosts: the machines, and what the run expects of them.
        counters: counts of the rows of the run.
        replaces: whether to replace actors that die.
        yields: returns whether a pool of another kind has no worker at all, and needs room for one.

    Attributes:
        closed: set to true to end the thread.
    """

    def __init__(
        self,
        slots: list[Slot],
        changed: threading.Condition,
        hosts: Hosts,
        counters: RowCounts,
        replaces: bool,
        yields: Callable[[], bool],
    ) -> None:
        self._slots, self._changed, self._hosts, self._counters = slots, changed, hosts, counters
        self._replaces, self._yields, self._yield_at = replaces, yields, 0.0
        self._error: BaseException | None = None
        self.closed, self._paused = False, False
        self._thread = threading.Thread(target=self._keep, daemon=True, name="ray-slots")
        self._thread.start()

    def check(self) -> None:
        """Raise StoppedError if the thread was asked to end, or RuntimeError if an error has ended it."""
        if self.closed:
            raise StoppedError("stopped before it was done")
        if self._error is not None:
            raise RuntimeError("the thread that starts workers on the Ray cluster has ended") from self._error

    def end_workers(self) -> None:
        """End all workers."""
        with self._changed:
            for slot in self._slots:
                slot.end()
            self._changed.notify_all()

    @contextmanager
    def pause(self, keep_started: bool) -> Iterator[None]:
        """Start no workers during the block, and end those that exist.

        Args:
            keep_started: whether to keep the workers that have answered, so that only pending ones end.
        """
        with self._changed:
            self._paused = True
            for slot in self._slots:
                if not (keep_started and slot.started):
                    slot.end()
        try:
            yield
        finally:
            self._paused = False

    def join(self) -> None:
        """Wait for the end of the thread; not for long, because it hangs if the head node of the cluster is gone."""
        self._thread.join(timeout=10)

    def _keep(self) -> None:
        try:
            while not self.closed:
                self._keep_once()
        except BaseException as exc:
            self._error = exc
            raise

    def _keep_once(self) -> None:
        """Start actors, and receive what they answer."""
        with self._changed:
            if not (self.closed or self._paused):
                if time.monotonic() >= self._yield_at and self._yields() and _end_idle_worker(self._slots):
                    self._yield_at = time.monotonic() + YIELD_SECONDS
                for slot in self._slots:
                    self._start_if_empty(slot)
            waiting = {ref: slot for slot in self._slots for ref in (slot.answer, slot.report) if ref is not None}
        if not waiting:
            time.sleep(POLL_SECONDS)
        ready = ray.wait(list(waiting), num_returns=len(waiting), timeout=POLL_SECONDS)[0] if waiting else []
        for reference in ready:
            self._receive(waiting[reference], reference)
        self._ask_for_reports()

    def _start_if_empty(self, slot: Slot) -> None:
        if slot.state is SlotState.EMPTY and (self._replaces or not slot.is_dead) and time.monotonic() >= slot.start_at:
            slot.start(self._hosts.selector())

    def _receive(self, slot: Slot, reference: Any) -> None:
        """Receive the answer or the report of an actor."""
        try:
            self._accept(slot, reference, ray.get(reference))
        except RayError as exc:
            self._lose(slot, reference, exc)
        except TransientError as exc:
            logger.warning("a worker on %s cannot start yet: %s", slot.node, exc)
            with self._changed:
                if reference == slot.answer:
                    slot.end_for_now()
                self._changed.notify_all()

    def _accept(self, slot: Slot, reference: Any, answer: Any) -> None:
        if slot.state is SlotState.PENDING and reference == slot.answer:
            node = self._hosts.node(answer)
            request = self._hosts.handshake_request(node, slot.request)
            with self._changed:
                if reference == slot.answer:
                    slot.node_id, slot.node, slot.state = node.node_id, node.name, SlotState.HANDSHAKE
                    slot.answer = slot.actor.answer_handshake.remote(request, node.name)
        elif slot.state is SlotState.HANDSHAKE and reference == slot.answer:
            suits = self._hosts.suits(slot.node_id, answer, slot.request)
            with self._changed:
                if reference == slot.answer:
                    slot.finish_handshake(answer.device, suits)
                    self._changed.notify_all()
        else:
            with self._changed:
                if reference != slot.report:  # the actor was ended meanwhile
                    return
                self._counters.add(slot.name, answer)
                node_name, slot.report = slot.node, None
            answer.repeat_log(node_name)  # without the lock, because writing the log may take long

    def _lose(self, slot: Slot, reference: Any, error: RayError) -> None:
        """Replace the actor of a slot that died. If the actor was busy, the thread that waits for it does this."""
        with self._changed:
            if reference == slot.answer:
                self._hosts.note_failed_start(slot.node, error)
                slot.end_for_now()
            elif reference == slot.report:
                slot.report = None
                if slot.state is SlotState.IDLE:
                    slot.end()
            self._changed.notify_all()

    def _ask_for_reports(self) -> None:
        now = time.monotonic()
        with self._changed:
            for slot in self._slots:
                if slot.started and slot.report is None and now - slot.reported >= REPORT_SECONDS:
                    slot.report, slot.reported = slot.actor.report.remote(), now


def _end_idle_worker(slots: list[Slot]) -> bool:
    """End an idle worker for a while, so that a pool of another kind gets its room; return whether there was one.

    Without this, the workers of one kind may have all machines that are left after a machine was lost.
    """
    for slot in slots:
        if slot.state is SlotState.IDLE:
            logger.info("a worker on %s ends, to make room for a worker of another kind", slot.node)
            slot.end()
            slot.start_at = time.monotonic() + YIELD_SECONDS
            return True
    return False
