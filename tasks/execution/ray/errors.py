"""Translate the errors of Ray into those of clipes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskUnschedulableError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from clipes.tasks.execution.ray.nodes import is_alive
from clipes.tasks.storage.filesystem import first_line
from clipes_core.errors import NodeLostError, StageError, StoppedError, WorkerError

POLL_SECONDS = 0.5
MOST_SIGNS = 60  # that a machine is asked for while the processes that would give them die


@contextmanager
def translate_ray_errors(
    node_id: str, node: str, timeout_s: float | None, is_closed: Callable[[], bool]
) -> Iterator[None]:
    """Translate the errors that a call in a worker raises in the block.

    Args:
        node_id: Ray's id of the worker's machine.
        node: name of the machine.
        timeout_s: time limit of the call [s]; None for no limit.
        is_closed: returns whether clipes itself has ended the worker.

    Raises:
        WorkerError: the worker died, ran out of memory or took too long.
        NodeLostError: the machine of the worker is gone.
        StoppedError: clipes itself has ended the worker.
        Exception: whatever the function raised.
    """
    try:
        yield
    except RayTaskError as exc:
        raise _raised_by_function(exc, node) from exc
    except GetTimeoutError as exc:
        raise WorkerError(f"stopped after {timeout_s:g} s: raise execution.shard_timeout_s") from exc
    except (RayError, ConnectionError) as exc:
        if is_closed():
            raise StoppedError("stopped before it was done") from exc
        if isinstance(exc, OutOfMemoryError) or "memory monitor" in str(exc):
            raise WorkerError(f"its worker process was killed, because the memory of {node} ran out") from exc
        if _is_lost(node_id, is_closed):
            raise NodeLostError(f"the machine {node} of its worker was lost") from exc
        raise WorkerError(f"its worker process on {node} died (often because memory ran out)") from exc


def _raised_by_function(error: RayTaskError, node: str) -> Exception:
    cause = error.cause
    if isinstance(cause, MemoryError):
        return WorkerError(f"its worker process on {node} ran out of memory")
    if isinstance(cause, Exception):
        return cause
    return StageError(f"an error on {node}: {first_line(error)}")  # one that cannot be sent to another process


def _is_lost(node_id: str, is_closed: Callable[[], bool]) -> bool:
    """Return whether a machine is gone. Ray may notice the end of a worker before it notices that of the machine.

    Only an error of the machine itself proves this, because low memory ends other processes as well.

    Raises:
        StoppedError: clipes itself has ended the worker meanwhile.
    """
    place = NodeAffinitySchedulingStrategy(node_id, soft=False)
    ask = ray.remote(num_cpus=0, max_retries=0)(_give_sign).options(scheduling_strategy=place)
    sign, signs = ask.remote(), 1
    while is_alive(node_id):
        if is_closed():
            raise StoppedError("stopped before it was done")
        ready, _ = ray.wait([sign], timeout=POLL_SECONDS)
        if not ready:
            continue
        try:
            return not ray.get(sign)
        except (NodeDiedError, TaskUnschedulableError):
            return True
        except OutOfMemoryError:
            return False
        except RayError:
            if signs == MOST_SIGNS:
                return False
            time.sleep(POLL_SECONDS)
            sign, signs = ask.remote(), signs + 1
    return True


def _give_sign() -> bool:
    return True
