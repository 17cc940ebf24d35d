"""What tests of the workers have them do; a module that worker processes can import."""

import logging
import signal
import time

from clipes.tasks.machine.worker_state import current_worker


def name_of_worker(seconds=0.0):
    """device:pid, after a while."""
    time.sleep(seconds)
    return current_worker().name


def count(stage, rows):
    """Count rows as a stage does."""
    for _ in range(rows):
        current_worker().counters.add(stage)


def blocks_sigint():
    """Whether Ctrl-C does not reach this worker, whatever handler it has."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def be_too_late():
    """Raise what a slow store raises."""
    raise TimeoutError("the store did not answer")


def warn(text):
    """Log as a stage does."""
    logging.getLogger("clipes.tasks.stages.cams").warning(text)


def ask_for_too_much():
    """Want more memory than there can be."""
    return bytearray(1 << 62)


def models_loaded():
    """How often this worker has loaded a CLIP."""
    from clipes.tasks.models.loaded_clip import loaded_clip  # seconds of imports that the other calls do without

    return loaded_clip.cache_info().misses


def peak_memory():
    """MiB this worker says it has had at most."""
    return current_worker().peak_memory_mib


def made_rows(job):
    """What a stage makes of a job, before it is written."""
    return list(job.stage.rows(job))


def stand_still(started):
    """Leave a file, and come to no end."""
    started.touch()
    time.sleep(300)
