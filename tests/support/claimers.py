"""Processes that claim the same names at the same moments, or hold a claim for long."""

import time
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event

from clipes.tasks.storage.claims import take_claim
from clipes_core.errors import RunBusyError


def claim_in_rounds(store: str, rounds: int, start: Barrier, results: "Queue[list[bool]]") -> None:
    """Try to claim one name per round, each time together with another process, and put the outcomes into a queue.

    The process keeps all of its claims until the last round has ended.
    """
    admitted = []
    for number in range(rounds):
        start.wait()
        try:
            take_claim(f"{store}/claims/run/{number}", f"run {number}", "wait")
        except RunBusyError:
            admitted.append(False)
        else:
            admitted.append(True)
    start.wait()
    results.put(admitted)


def collect_slowly(store: str, deleting: Event, go_on: Event) -> None:
    """Collect the garbage of a store, and wait before the first deletion.

    Args:
        store: URI of the store.
        deleting: event that is set before the first deletion.
        go_on: event that the deletion waits for.
    """
    from clipes.tasks.commands import garbage

    remove = garbage.remove

    def slow_remove(uri: str) -> None:
        deleting.set()
        go_on.wait(60)
        remove(uri)

    garbage.remove = slow_remove
    garbage.remove_garbage(store, 0, time.time() + garbage.DAY)
