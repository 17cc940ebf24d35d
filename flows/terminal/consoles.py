"""The consoles on which the commands print."""

from clipes.tasks.machine.terminal import TerminalConsole

out = TerminalConsole(soft_wrap=True)
err = TerminalConsole(stderr=True, soft_wrap=True)
