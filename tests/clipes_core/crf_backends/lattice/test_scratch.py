import threading

import numpy as np

from clipes_core.crf_backends.lattice.scratch import MOST_KEPT, scratch


def test_the_next_smaller_array_reuses_the_memory():
    first = scratch("test", (10, 4), np.float32)
    again = scratch("test", 20, np.int64)
    assert (first.shape, first.dtype, first.flags.c_contiguous) == ((10, 4), np.float32, True)
    assert np.shares_memory(first, again)


def test_arrays_of_other_names_and_threads_are_separate():
    own = scratch("test", 8, np.uint8)
    others = [scratch("test 2", 8, np.uint8)]
    thread = threading.Thread(target=lambda: others.append(scratch("test", 8, np.uint8)))
    thread.start()
    thread.join()
    assert not any(np.shares_memory(own, other) for other in others)


def test_a_large_array_is_not_kept():
    large = scratch("test", MOST_KEPT + 1, np.uint8)
    assert large.size == MOST_KEPT + 1
    assert not np.shares_memory(large, scratch("test", 8, np.uint8))
