"""Functions that tests call in workers. They are in a module, so that worker processes can import them."""

import logging
import signal
import time

from clipes.tasks.machine.worker_state import current_worker


def worker_name(seconds=0.0):
    """Return the name of this worker, device:pid, after a delay."""
    time.sleep(seconds)
    return current_worker().name


def count(stage, rows, end=None):
    """Count rows as a stage does, and then wait until the file `end` exists, if one is given."""
    for _ in range(rows):
        current_worker().counters.add(stage)
    while not (end is None or end.exists()):
        time.sleep(0.01)


def sigint_is_blocked():
    """Return whether this worker blocks SIGINT, which then reaches no handler."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def raise_timeout():
    """Raise the error of a store that does not answer."""
    raise TimeoutError("the store did not answer")


def warn(text):
    """Log a warning as a stage does."""
    logging.getLogger("clipes.tasks.stages.cams").warning(text)


def allocate_too_much():
    """Allocate more memory than any machine has."""
    return bytearray(1 << 62)


def models_loaded():
    """Return how often this worker has loaded a CLIP."""
    from clipes.tasks.models.loaded_clip import loaded_clip  # a slow import that the other calls do not need

    return loaded_clip.cache_info().misses


def peak_memory():
    """Return the peak memory of this worker [MiB]."""
    return current_worker().peak_memory_mib


def rows_of_job(job):
    """Compute the rows of a job, and return them without writing an artifact."""
    return list(job.stage.rows(job))


def hang(started):
    """Create a file, and then sleep for five minutes."""
    started.touch()
    time.sleep(300)
