"""The clipes command with three more commands: python interrupted_command.py COMMAND SECONDS.

Each command prints a line when its work begins, when it starts to close and when it has closed. After each of the first
two lines it waits for a byte on standard input. Signals within SECONDS of the first one count as the same signal.
"""

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clipes.flows import cli
from clipes.flows.commands.options import Fresh
from clipes.tasks.machine import interruption

STDIN = 0


def work() -> None:
    print("begun", flush=True)
    wait_for_byte()


def wait_for_byte() -> None:
    """Wait for a byte on standard input.

    Python runs the handler of a signal that arrives just before a read only after this read. Do not wait in a read.
    """
    while not select.select([STDIN], [], [], 0.1)[0]:
        pass
    os.read(STDIN, 1)


@contextmanager
def closed() -> Iterator[None]:
    try:
        yield
    finally:
        print("closing", flush=True)
        wait_for_byte()
        print("closed", flush=True)


@cli.app.command()
def hold(fresh: Fresh = False) -> None:
    with closed():
        work()


@cli.app.command()
def hold_in_a_flow() -> None:
    call_as_flow(hold)


@cli.app.command()
def hold_around_a_flow() -> None:
    with closed():
        call_as_flow(work)


def call_as_flow(function: Callable[[], None]) -> None:
    from prefect import flow

    from clipes.flows.flow_runs import keep_sigterm_handler

    keep_sigterm_handler(flow(function))()


if __name__ == "__main__":
    interruption.SAME_SIGNAL_SECONDS = float(sys.argv.pop())
    cli.main()
