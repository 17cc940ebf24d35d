"""One Prefect server for all commands of a user on this machine. It lives as long as at least one process uses it.

Each process that uses the server holds a shared lock on a file. The operating system releases the lock when the
process ends, even if the process is killed. The server's own process, `python -m clipes.flows.server_process FOLDER`,
ends as soon as it gets an exclusive lock on the file, because then no process uses the server any more.
"""

import fcntl
import json
import os
import re
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

from clipes.tasks.machine.processes import collect_garbage_rarely, is_alive, started_at
from clipes.tasks.ui.report_route import add_report_route

SERVER_SETTINGS = {  # the user's environment takes precedence
    # Writing the states of task runs in batches halves the server's work in a run of tiny shards.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
HOST = "127.0.0.1"
LOG = "server.log"
POLL_SECONDS = 0.5
STARTED = "clipes starts a Prefect server"  # first line of each server in the log
# A line of the log that may say why the server ended, such as "sqlite3.DatabaseError: file is not a database".
ERROR_LINE = re.compile(r"[\w.]+(Error|Exception): |Port \d+ is already in use|Killed")
GRACE_SECONDS = 5.0  # time for connections to close before the process ends


@dataclass(frozen=True)
class SharedServer:
    """A server process, which may still be starting.

    Attributes:
        folder: folder of the server's locks and log.
        port: port of the server on this machine.
        pid: id of the server's process.
        pid_started: start time of the process [s since the start of the host]. Together with `pid`, it identifies the
            process, because a later process may get the same id.
    """

    folder: Path
    port: int
    pid: int
    pid_started: float

    @property
    def log(self) -> Path:
        """Return the path of the log file, which also holds the logs of earlier servers."""
        return self.folder / LOG

    @property
    def last_words(self) -> str:
        """Return why the last server ended, as far as its log says so, and the path of the log."""
        lines = self.log.read_text(errors="replace").rpartition(STARTED)[2].split("\n")
        errors = [line.strip() for line in lines if ERROR_LINE.match(line)]
        return f"{errors[-1]} (see {self.log})" if errors else f"see {self.log}"

    @property
    def url(self) -> str:
        """Return the URL of the server's API."""
        return f"http://{HOST}:{self.port}/api"

    @property
    def listens(self) -> bool:
        """Return whether the server accepts connections. It does so at the end of its start."""
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    @property
    def alive(self) -> bool:
        """Return whether the server's process is alive."""
        return is_alive(self.pid, self.pid_started)


@contextmanager
def join_shared_server(folder: Path) -> Iterator[SharedServer]:
    """Yield the server of a folder, and keep the server alive during the block. If no server is running, start one.

    Args:
        folder: folder for the server's locks and log. It must be on a local disk. Servers with different Prefect
            databases need different folders.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _hold_lock(_users(folder), fcntl.LOCK_SH):  # waits while an unused server is ending
        yield _find_or_start(folder, _free_port)


def restart(server: SharedServer) -> SharedServer:
    """Replace a dead server with a new one at the same URL, and return the new server.

    If several processes call this for the same dead server, one of them starts the new server, and all return it.
    """
    return _find_or_start(server.folder, lambda: server.port)


def _find_or_start(folder: Path, port: Callable[[], int]) -> SharedServer:
    with _hold_lock(folder / "start", fcntl.LOCK_EX):
        return _find_live(folder) or _start(folder, port())


def _find_live(folder: Path) -> SharedServer | None:
    record = folder / "server.json"
    if not record.exists():
        return None
    try:
        server = SharedServer(folder, **json.loads(record.read_text()))
        return server if server.alive else None
    except (ValueError, TypeError, OverflowError):  # damaged, or written by another version of clipes
        return None


def _start(folder: Path, port: int) -> SharedServer:
    command = [sys.executable, "-m", "clipes.flows.server_process", str(folder)]
    # The port is an environment variable, because the UI ignores the option --port of `prefect server start`.
    environment = {
        **SERVER_SETTINGS,
        **os.environ,
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
    }
    environment.pop("PREFECT_API_URL", None)
    # The server gets its own session so that Ctrl-C does not reach it: it must still record that the run was cancelled.
    with (folder / LOG).open("ab") as log:
        log.write(f"{STARTED}\n".encode())
        log.flush()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
        )
    server = SharedServer(folder, port, process.pid, started_at(process.pid))
    record = {name: value for name, value in asdict(server).items() if name != "folder"}
    from clipes.tasks.storage.files import write_file  # imports fsspec, which the server does not need

    write_file(str(folder / "server.json"), json.dumps(record).encode())
    return server


def _serve(folder: Path) -> None:
    collect_garbage_rarely()
    threading.Thread(target=_end_when_unused, args=(_users(folder),), daemon=True, name="end-when-unused").start()
    from prefect.cli import app

    add_report_route()
    sys.argv = ["prefect", "server", "start"]
    app()


def _end_when_unused(users: Path) -> None:
    with users.open() as file:
        while not _try_lock(file.fileno()):
            time.sleep(POLL_SECONDS)
        # This process holds the lock until it ends. A process that needs a server waits until then and starts one.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(0)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _hold_lock(path: Path, kind: int) -> Iterator[None]:
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
