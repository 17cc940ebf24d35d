"""The entry point of the command line: `clipes`, or `python -m clipes`.

The command line takes a moment to import. This module imports little, so that it can handle signals before that.
"""

import os
import signal

INTERRUPTED = 130  # exit code of an interrupted command


def main() -> None:
    """Run the command line. While it is imported, SIGINT (Ctrl-C) and SIGTERM end the process with one line."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # a background job ignores SIGINT
            signal.signal(number, _end)
    from clipes.tasks.machine.processes import collect_garbage_rarely

    collect_garbage_rarely()
    from clipes.flows.cli import main as run_command

    run_command()


def _end(*_: object) -> None:
    """End this process. Nothing needs to be closed, because the command has not begun."""
    try:
        os.write(2, b"clipes: interrupted before the command began\n")
    finally:  # even if nobody reads standard error any more
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
