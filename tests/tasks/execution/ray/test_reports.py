"""What workers report."""

import logging
from concurrent.futures import ThreadPoolExecutor

from clipes.tasks.execution.ray.reports import MOST_RECORDS, Records, Report, RowCounts


def test_threads_that_take_records_at_the_same_time_get_each_record_once():
    records = Records()
    for number in range(MOST_RECORDS):
        records.handle(logging.LogRecord("clipes", logging.INFO, "", 0, str(number), None, None))
    with ThreadPoolExecutor(8) as threads:
        taken = [each for batch in threads.map(lambda _: records.take(), range(8)) for each in batch]
    assert taken == [(logging.INFO, "clipes", str(number)) for number in range(MOST_RECORDS)]
    assert records.take() == ()


def test_the_newest_report_of_each_worker_counts():
    counts = RowCounts()
    counts.add("a", Report(1, {"cams": 7}, ()))
    counts.add("a", Report(0, {"cams": 3}, ()))
    counts.add("b", Report(0, {"cams": 2, "masks": 1}, ()))
    assert (counts.count("cams"), counts.count("masks")) == (9, 1)


def test_the_rows_of_a_call_that_has_ended_do_not_count_and_no_older_report_adds_them():
    counts = RowCounts()
    counts.add("a", Report(1, {"cams": 7}, ()))
    counts.end_call("a")
    counts.add("a", Report(0, {"cams": 3}, ()))
    assert counts.count("cams") == 0
    counts.add("a", Report(2, {"cams": 1}, ()))
    assert counts.count("cams") == 1


def test_the_log_of_a_worker_is_repeated_with_the_name_of_its_machine(caplog):
    caplog.set_level(logging.INFO, "clipes")
    Report(0, {}, ((logging.INFO, "clipes.tasks", "one"), (logging.WARNING, "clipes", "two"))).repeat_log("first")
    assert caplog.record_tuples == [
        ("clipes.tasks", logging.INFO, "first: one"),
        ("clipes", logging.WARNING, "first: two"),
    ]
