"""The clipes command, which receives a signal while it connects to Ray: signal_while_connecting.py SIGNAL FUNCTION ...

The process sends itself the signal when its main thread calls a function of Ray, or of the runner ray, with the name
FUNCTION.
"""

import os
import signal
import sys
from types import FrameType
from typing import Any

from clipes.flows import cli


def main() -> None:
    """Run the command with the arguments that follow FUNCTION."""
    number, function = signal.Signals[sys.argv.pop(1)], sys.argv.pop(1)

    def send(frame: FrameType, _event: str, _arg: Any) -> None:
        if frame.f_code.co_name == function and "/ray/" in frame.f_code.co_filename:
            sys.settrace(None)
            os.kill(os.getpid(), number)

    sys.settrace(send)
    cli.main()


if __name__ == "__main__":
    main()
