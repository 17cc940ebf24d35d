"""Claims: let only one process at a time use a name in a store, even if several hosts share the store.

A claim is a file with a number. A process claims a name by creating the file with the next number, which only one
process can do. A claim ends when its process ends it or dies, or when a process on another host has not renewed it for
SILENT_SECONDS. Only the claim with the highest number counts.
"""

import json
import logging
import math
import os
import posixpath
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from clipes.tasks.machine.background import in_background
from clipes.tasks.machine.processes import is_alive, started_at
from clipes.tasks.storage.files import create_file, read_file, remove, write_file
from clipes.tasks.storage.layout import temporary_name
from clipes.tasks.storage.listing import find_file, list_names
from clipes_core.errors import ArtifactError, RunBusyError, StorageError, TransientError

SILENT_SECONDS = 60.0
RENEW_SECONDS = 10.0
STALE_SECONDS = 30.0  # a process whose claim is older than this stops changing the store
ATTEMPTS, PAUSE_S = 50, 0.1
NAME = re.compile(r"(\d{9,})\.json")
TOKEN = uuid.uuid4().hex  # of this process

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Holder:
    """The process that holds a claim.

    Attributes:
        host: name of its host.
        machine: identifier of the host since its start, and of the container; see `machine_id`.
        pid: id of the process.
        pid_started: start time of the process [s since the start of the host].
        token: random text of the process.
        ended: whether the process has ended the claim.
    """

    host: str
    machine: str
    pid: int
    pid_started: float
    token: str
    ended: bool = False

    @property
    def is_own(self) -> bool:
        """Return whether this process holds the claim."""
        return self.token == TOKEN


class Claim:
    """A claim that this process holds.

    Args:
        folder: URI of the folder with the claims of a name.
        number: number of the claim.
    """

    def __init__(self, folder: str, number: int) -> None:
        self._folder, self.number = folder, number
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Show processes on other hosts that this process still needs the name.

        Raises:
            RunBusyError: another process has claimed the name since, because this process did not renew its claim.
            StorageError: the store refuses access.
            TransientError: the store does not answer.
        """
        self.confirm()
        write_file(_uri(self._folder, self.number), _content(ended=False))
        self._renewed = time.monotonic()

    def confirm(self) -> None:
        """Check that no other process has claimed the name since. Errors as for `renew`."""
        if _last_number(self._folder) > self.number:
            self._renewed = -math.inf  # `check` must not trust the last renewal
            raise RunBusyError(f"another process has taken over {self._folder}, because this one was silent too long")

    def check(self) -> None:
        """Check that this process still holds the claim; renew it if the last renewal failed. Errors as for `renew`."""
        if time.monotonic() - self._renewed > STALE_SECONDS:
            self.renew()

    def end(self) -> None:
        """End the claim; if the store fails, only log a warning, because the claim also ends with the process."""
        try:
            write_file(_uri(self._folder, self.number), _content(ended=True))
        except (StorageError, TransientError) as exc:
            logger.warning("could not end a claim, which ends with this process: %s", exc)


@contextmanager
def claimed(folder: str, what: str, advice: str) -> Iterator[Claim]:
    """Claim a name while the block runs, and renew the claim in the background.

    Args:
        folder: URI of the folder with the claims of the name; it is created if it does not exist.
        what: what the name stands for, for the error message.
        advice: what the user can do if another process holds a claim, for the error message.

    Raises:
        RunBusyError: another process holds a claim of the name.
        ArtifactError: the file of a claim is damaged.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    claim = take_claim(folder, what, advice)
    try:
        with in_background(partial(_renew, claim), "claim"):
            yield claim
    finally:
        claim.end()


def take_claim(folder: str, what: str, advice: str) -> Claim:
    """Claim a name; the caller must renew and end the claim. Arguments and errors are those of `claimed`."""
    for _ in range(ATTEMPTS):
        last = _last_number(folder)
        holder = _holder(folder, last)
        if holder is not None and not holder.is_own:
            raise RunBusyError(f"{what} is already running (process {holder.pid} on {holder.host}): {advice}")
        if create_file(_uri(folder, last + 1), _content(ended=False)):
            numbers = _numbers(folder)
            if max(numbers, default=0) <= last + 1:
                for number in numbers:
                    if number <= last:
                        remove(_uri(folder, number))
                return Claim(folder, last + 1)
            remove(_uri(folder, last + 1))  # this process was slow, and others have claimed the name meanwhile
        time.sleep(PAUSE_S)
    raise TransientError(f"{folder}: other processes claim this name again and again; try again later")


def claim_holder(folder: str) -> tuple[Holder, int] | None:
    """Return the process that holds a claim of a name now, and the number of the claim; None if no process does.

    Raises:
        ArtifactError: the file of a claim is damaged.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    number = _last_number(folder)
    holder = _holder(folder, number)
    return None if holder is None else (holder, number)


@cache
def machine_id() -> str:
    """Return a text that processes share if they see the same process ids: one boot of one host, one container."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        return f"{boot.read_text().strip()} {namespace.readlink()}"
    except OSError:  # not Linux
        return socket.gethostname()


def _renew(claim: Claim, stop: threading.Event) -> None:
    while not stop.wait(RENEW_SECONDS):
        try:
            claim.renew()
        except RunBusyError as exc:
            logger.warning("%s: stop this process, because it writes no more results under this name", exc)
            return
        except (StorageError, TransientError) as exc:
            logger.warning("could not renew a claim, will retry: %s", exc)


def _holder(folder: str, number: int) -> Holder | None:
    """Return the process that holds the claim with a number; None if the claim has ended or does not exist."""
    if number == 0:
        return None
    uri = _uri(folder, number)
    holder = _read(uri)
    if holder is None or holder.ended:
        return None
    if holder.machine == machine_id():
        return holder if holder.is_own or is_alive(holder.pid, holder.pid_started) else None
    file = find_file(uri)
    silent = file is None or (file.modified is not None and _store_time(folder) - file.modified > SILENT_SECONDS)
    return None if silent else holder


def _store_time(folder: str) -> float:
    """Return the time of the clock that gives claims their modification times [s since 1970].

    The clock of this host, which may differ, is used only if the store refuses a small file or reports no times.
    `clipes gc` without --yes, for example, may lack the permission to write.
    """
    trial = posixpath.join(folder, temporary_name("clock"))
    try:
        write_file(trial, b"clipes")
        file = find_file(trial)
        remove(trial)
    except StorageError:
        return time.time()
    return time.time() if file is None or file.modified is None else file.modified


def _read(uri: str) -> Holder | None:
    for attempt in range(3):  # a store without atomic writes may show a file that is just being written
        try:
            return Holder(**json.loads(read_file(uri)))
        except FileNotFoundError:  # replaced by a later claim
            return None
        except (ValueError, TypeError) as exc:
            if attempt == 2:
                message = f"{uri} is damaged ({exc}): delete it if no run and no gc is using the store"
                raise ArtifactError(message) from exc
            time.sleep(PAUSE_S)
    return None


def _content(ended: bool) -> bytes:
    pid = os.getpid()
    own = Holder(socket.gethostname(), machine_id(), pid, started_at(pid), TOKEN, ended)
    return json.dumps(asdict(own)).encode()


def _last_number(folder: str) -> int:
    return max(_numbers(folder), default=0)


def _numbers(folder: str) -> list[int]:
    found = [NAME.fullmatch(name) for name in list_names(folder) or ()]
    return [int(match[1]) for match in found if match]


def _uri(folder: str, number: int) -> str:
    return posixpath.join(folder, f"{number:09d}.json")
