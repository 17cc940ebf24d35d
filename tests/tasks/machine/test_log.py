import subprocess
import sys

import pytest

ESCAPED = "clipes: 1 of \\x1b[1m\\udc802\n"


@pytest.mark.parametrize(("level", "expected"), [("INFO", f"clipes: kept\n{ESCAPED}"), ("WARNING", ESCAPED)])
def test_records_at_or_above_the_level_are_printed_to_standard_error(level, expected):
    program = f"""
import logging
from clipes.tasks.machine.log import log_level, show_log
show_log(logging.{level})
assert log_level() == logging.{level}
logger = logging.getLogger("clipes.tasks.anything")
logger.debug("left out")
logger.info("kept")
logger.warning("%d of %s", 1, "\\x1b[1m\\udc802")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", expected)


def test_the_default_log_level_is_info():
    program = "from clipes.tasks.machine.log import log_level; print(log_level())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "20\n"


def test_collected_warnings_are_not_written_but_other_records_are():
    program = """
import logging
from clipes.tasks.machine.log import collect_warnings, show_log
show_log()
logger = logging.getLogger("clipes.tasks.anything")
with collect_warnings() as warnings:
    logger.warning("low %s", "disk")
    logger.info("started")
logger.warning("later")
print(warnings)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("['low disk']\n", "clipes: started\nclipes: later\n")


def test_each_message_of_a_block_is_written_once():
    program = """
import logging
from clipes.tasks.machine.log import each_message_once, show_log
show_log()
logger = logging.getLogger("clipes.tasks.anything")
with each_message_once():
    for count in (4, 4, 5):
        logger.info("%d shards", count)
logger.info("4 shards")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "clipes: 4 shards\nclipes: 5 shards\nclipes: 4 shards\n"


def test_messages_of_other_loggers_may_be_repeated():
    program = """
import logging
from clipes.tasks.machine.log import each_message_once, show_log
show_log()
with each_message_once("tasks.models", "tasks.inputs"):
    for name in ("tasks.models.clip", "tasks.runs", "tasks.models.clip", "tasks.runs"):
        logging.getLogger(f"clipes.{name}").warning("%s warns", name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "clipes: tasks.models.clip warns\nclipes: tasks.runs warns\nclipes: tasks.runs warns\n"
