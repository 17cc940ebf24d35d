"""A Prefect server for all runs of a user on this machine: it lives as long as one of them does.

Who uses it holds a shared lock on a file, which the system releases however a process ends. The server's own process,
`python -m clipes.flows.shared_server FOLDER`, ends as soon as it can have that lock for itself.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from clipes.tasks.machine.processes import is_alive, started_at
from clipes.tasks.storage.files import write_file

SERVER_SETTINGS = {  # what the user sets goes first
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # States of task runs are written together, not one by one: half the work of a run of tiny shards.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
HOST = "127.0.0.1"
LOG = "server.log"
POLL_SECONDS = 0.5
GRACE_SECONDS = 5.0  # for connections to close; then the process ends


@dataclass(frozen=True)
class SharedServer:
    """A server that was started; it may take a while until it answers.

    Attributes:
        folder: of its locks and its log.
        port: on this machine.
        pid: its process.
        pid_started: when that began [s since 1970]; another process may get the same number later.
    """

    folder: Path
    port: int
    pid: int
    pid_started: float

    @property
    def log(self) -> Path:
        """What it has said; those before it, too."""
        return self.folder / LOG

    @property
    def url(self) -> str:
        """Of its API."""
        return f"http://{HOST}:{self.port}/api"

    @property
    def alive(self) -> bool:
        """Whether its process still is."""
        return is_alive(self.pid, self.pid_started)


@contextmanager
def shared_server(folder: Path) -> Iterator[SharedServer]:
    """The server of a folder, which does not end before the block does; it is started where there is none.

    Args:
        folder: for its locks; one per database, on a local disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(_users(folder), fcntl.LOCK_SH):  # waits for a server that is ending because nobody used it
        yield _found_or_started(folder, _free_port)


def restarted(server: SharedServer) -> SharedServer:
    """The server of a folder after its process has died in the middle of a block, at the same URL; started by one."""
    return _found_or_started(server.folder, lambda: server.port)


def _found_or_started(folder: Path, port: Callable[[], int]) -> SharedServer:
    with _locked(folder / "start", fcntl.LOCK_EX):
        return _recorded(folder) or _started(folder, port())


def _recorded(folder: Path) -> SharedServer | None:
    record = folder / "server.json"
    if not record.exists():
        return None
    try:
        server = SharedServer(folder, **json.loads(record.read_text()))
    except (ValueError, TypeError):  # of another version: its server is not ours to use
        return None
    return server if server.alive else None


def _started(folder: Path, port: int) -> SharedServer:
    command = [sys.executable, "-m", "clipes.flows.shared_server", str(folder)]
    # Its pages ask for the API at the port that the variable names, whatever the option of `prefect server start` says.
    environment = {
        **SERVER_SETTINGS,
        **os.environ,
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
    }
    environment.pop("PREFECT_API_URL", None)
    # A session of its own: Ctrl-C in the terminal is meant for the run, which still has to tell the server of it.
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
        )
    server = SharedServer(folder, port, process.pid, started_at(process.pid))
    record = {name: value for name, value in asdict(server).items() if name != "folder"}
    write_file(str(folder / "server.json"), json.dumps(record).encode())
    return server


def _serve(folder: Path) -> None:
    threading.Thread(target=_end_when_unused, args=(_users(folder),), daemon=True, name="end-when-unused").start()
    from prefect.cli import app

    sys.argv = ["prefect", "server", "start"]
    app()


def _end_when_unused(users: Path) -> None:
    with users.open() as file:
        while not _try_alone(file.fileno()):
            time.sleep(POLL_SECONDS)
        # From here to the process's end the lock is held: who comes now waits, and then starts another server.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(0)


def _try_alone(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, kind)
        yield


def _users(folder: Path) -> Path:
    return folder / "users"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
