import signal
import threading

import pytest

from clipes.tasks.machine.interruption import sigint_blocked


def test_sigint_waits_until_it_is_not_blocked_any_more():
    reached = []

    def interrupted_in_the_block():
        with sigint_blocked():
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            reached.append("the end of the block")
        reached.append("more")

    with pytest.raises(KeyboardInterrupt):
        interrupted_in_the_block()
    assert reached == ["the end of the block"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
