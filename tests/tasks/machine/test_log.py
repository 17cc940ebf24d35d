import subprocess
import sys

import pytest

ESCAPED = "clipes: 1 of \\x1b[1m\\udc802\n"


@pytest.mark.parametrize(("level", "expected"), [("INFO", f"clipes: kept\n{ESCAPED}"), ("WARNING", ESCAPED)])
def test_records_at_or_above_the_level_are_printed_to_standard_error(level, expected):
    program = f"""
import logging
from clipes.tasks.machine.log import LogSettings, log_settings, show_log
show_log(LogSettings(logging.{level}))
assert log_settings() == LogSettings(logging.{level})
logger = logging.getLogger("clipes.tasks.anything")
logger.debug("left out")
logger.info("kept")
logger.warning("%d of %s", 1, "\\x1b[1m\\udc802")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", expected)


def test_the_default_log_level_is_info():
    program = "from clipes.tasks.machine.log import log_settings; print(log_settings().level)"
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


def test_messages_about_inputs_are_written_once_and_those_of_the_runs_each_time():
    program = """
import logging
from clipes.tasks.machine.log import collect_warnings, log_settings, show_log, without_repetitions
show_log()
models, runs = (logging.getLogger(f"clipes.tasks.{name}") for name in ("models.clip", "runs"))
with without_repetitions("tasks.models", "tasks.inputs"):
    with collect_warnings() as warnings:
        models.warning("%s is ignored", "clip.model")
    for number in (1, 2):
        models.warning("%s is ignored", "clip.model")
        models.info("loads the weights")
        runs.info("1 of 3 photos")
    assert log_settings().written == {"clip.model is ignored", "loads the weights"}
models.info("loads the weights")
print(warnings)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    photos, weights = "clipes: 1 of 3 photos\n", "clipes: loads the weights\n"
    assert (done.stdout, done.stderr) == ("['clip.model is ignored']\n", f"{weights}{photos}{photos}{weights}")


def test_a_worker_does_not_repeat_what_its_parent_has_written():
    program = """
import logging
from clipes.tasks.machine.log import LogSettings, show_log
show_log(LogSettings(logging.INFO, frozenset({"clip.model is ignored"})))
for message in ("clip.model is ignored", "1 of 3 photos"):
    logging.getLogger("clipes.tasks.models").info(message)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "clipes: 1 of 3 photos\n"
