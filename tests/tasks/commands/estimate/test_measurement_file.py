from pathlib import Path

from clipes.tasks.commands.estimate.forecast import Machines, Measurement, StageCost, TrainingCost, Work
from clipes.tasks.commands.estimate.measurement_file import made_with, read_measurement, write_measurement
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.storage.layout import ESTIMATE_FILE
from clipes.tasks.storage.run_files import RunFiles

SLOTS = {"gpu": (WorkerSlot("cpu", 1),), "cpu": (WorkerSlot("cpu", 1),)}
MEASURED = Measurement(
    Work(24, 8, 10, 20, 20, 2),
    Machines(0, 2),
    20.0,
    (StageCost("cams", "gpu", False, 0.5, 0.0, 0.25, 9_000.0, 100),),
    TrainingCost(0.2, 0.03, 0.5, 1, 900),
)


def test_a_measurement_is_kept_for_the_same_config_host_and_workers(config):
    made = made_with(config, SLOTS)
    assert read_measurement(config, made) is None
    write_measurement(config, MEASURED, made)
    assert read_measurement(config, made) == MEASURED
    more = made_with(config, {**SLOTS, "cpu": SLOTS["cpu"] * 2})
    other = made_with(config.model_copy(update={"name": "other"}), SLOTS)
    assert read_measurement(config, more) is read_measurement(config, other) is None


def test_a_damaged_measurement_is_made_again(config):
    made = made_with(config, SLOTS)
    files = RunFiles(config.store, config.name)
    write_measurement(config, MEASURED, made)
    data = bytearray(Path(files.uri(ESTIMATE_FILE)).read_bytes())
    data[len(data) // 2] ^= 1
    files.write_bytes(ESTIMATE_FILE, bytes(data))
    assert read_measurement(config, made) is None
    files.write_json(ESTIMATE_FILE, {"made_with": made, "measurement": {"work": {}}})
    assert read_measurement(config, made) is None
