"""What workers report."""

import logging
from concurrent.futures import ThreadPoolExecutor

from clipes.tasks.execution.ray.reports import MOST_RECORDS, Records


def test_threads_that_take_records_at_the_same_time_get_each_record_once():
    records = Records()
    for number in range(MOST_RECORDS):
        records.handle(logging.LogRecord("clipes", logging.INFO, "", 0, str(number), None, None))
    with ThreadPoolExecutor(8) as threads:
        taken = [each for batch in threads.map(lambda _: records.take(), range(8)) for each in batch]
    assert taken == [(logging.INFO, "clipes", str(number)) for number in range(MOST_RECORDS)]
    assert records.take() == ()
