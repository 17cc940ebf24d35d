from clipes.tasks.machine.processes import SPAWN_CONTEXT
from clipes.tasks.machine.row_counters import Counters


def test_rows_are_counted_per_stage_and_summed_over_worker_slots():
    counters = Counters(("cams", "masks"))
    first, second = counters.of_slot(), counters.of_slot()

    first.add("cams")
    second.add("cams", 4)
    second.add("masks", 2)

    assert (first.count("cams"), second.count("cams")) == (1, 4)
    assert (counters.count("cams"), counters.count("masks")) == (5, 2)


def test_the_rows_of_a_call_that_has_ended_do_not_count():
    counters = Counters(("cams", "masks"))
    ended, running = counters.of_slot(), counters.of_slot()
    for slot in (ended, running):
        slot.add("cams", 3)
        slot.add("masks")

    ended.clear()

    assert (counters.count("cams"), counters.count("masks")) == (3, 1)


def test_counts_of_another_process_are_visible():
    counters = Counters(("cams",))
    worker = SPAWN_CONTEXT.Process(target=counters.of_slot().add, args=("cams", 7))
    worker.start()
    worker.join()
    assert counters.count("cams") == 7
