from clipes.tasks.machine.processes import SPAWN_CONTEXT
from clipes.tasks.machine.row_counters import Counters


def test_rows_are_summed_over_slots_and_kept_per_stage():
    counters = Counters(("cams", "masks"))
    first, second = counters.of_slot(), counters.of_slot()

    first.add("cams")
    second.add("cams", 4)
    second.add("masks", 2)

    assert (first.count("cams"), second.count("cams")) == (1, 4)
    assert (counters.count("cams"), counters.count("masks")) == (5, 2)


def test_a_reset_sets_one_stage_of_all_slots_to_zero():
    counters = Counters(("cams", "masks"))
    for slot in (counters.of_slot(), counters.of_slot()):
        slot.add("cams", 3)
        slot.add("masks")

    counters.reset("cams")

    assert (counters.count("cams"), counters.count("masks")) == (0, 2)


def test_what_another_process_counts_is_seen_here():
    counters = Counters(("cams",))
    worker = SPAWN_CONTEXT.Process(target=counters.of_slot().add, args=("cams", 7))
    worker.start()
    worker.join()
    assert counters.count("cams") == 7
