import io

import pytest

from clipes.flows.estimation import Estimate
from clipes.flows.terminal.estimate_table import print_estimate
from clipes.tasks.commands.estimate.forecast import Machines, Measurement, StageCost, TrainingCost, Work, forecast
from clipes.tasks.inputs.photos import Reject
from clipes.tasks.machine.terminal import TerminalConsole
from clipes_core.config.run import RunConfig
from clipes_core.errors import ErrorKind

CAMS = StageCost(
    "cams", "gpu", False, 0.05, gpu_seconds=0.05, cpu_seconds=0.01, stored_bytes=9_000, peak_memory_mib=2_000
)
ON_CPU = StageCost("cams", "gpu", False, 0.05, gpu_seconds=0, cpu_seconds=0.04, stored_bytes=9_000, peak_memory_mib=500)
MASKS = StageCost("masks", "cpu", False, 0.5, gpu_seconds=0, cpu_seconds=0.4, stored_bytes=36_000, peak_memory_mib=300)
TRAINING = TrainingCost(0.2, validation_seconds=0.03, checkpoint_seconds=0.5, processes=1, peak_memory_mib=900)


@pytest.fixture
def printed(monkeypatch):
    """Return a function that prints a forecast, and returns the lines."""
    monkeypatch.setenv("COLUMNS", "200")

    def printed(*stages, machines, work, training=None, rejects=()):
        measured, stream = Measurement(Work(24, 8), machines, 20.0, stages, training), io.StringIO()
        found = forecast(measured, work, machines)
        estimate = Estimate(RunConfig(name="voc"), measured, work, machines, found, rejects)
        print_estimate(TerminalConsole(stream, soft_wrap=True), estimate)
        return [line.rstrip() for line in stream.getvalue().splitlines()]

    return printed


def test_a_small_run_is_forecast_in_small_units_and_without_a_gpu_none_is_mentioned(printed):
    lines = printed(ON_CPU, MASKS, machines=Machines(0, 2), work=Work(9, 8))
    assert "gpu" not in "".join(lines[:5]).lower()
    assert [" ".join(line.split()) for line in lines[:3]] == [
        "stage runs on time/photo core time/photo size/photo core time",
        "cams cpu 50 ms 40 ms 9.0 kB 360 ms",
        "masks cpu 500 ms 400 ms 36.0 kB 3.6 s",
    ]
    assert "9 photos: 4.0 s of core time, 405.0 kB in the store" in lines


def test_a_large_run_on_gpus_is_forecast_in_hours(printed):
    lines = printed(CAMS, MASKS, machines=Machines(8, 64), work=Work(2_000_000, 2_000))
    assert lines[0].split()[-4:] == ["core", "time", "GPU", "time"]
    assert lines[1].split()[-4:] == ["5.6", "h", "28", "h"]
    assert lines[2].split()[-2:] == ["222", "h"]
    assert "2000000 photos: 28 h of GPU time, 228 h of core time, 90.0 GB in the store" in lines
    assert "time with 8 GPUs and 64 cores: 3.6 h" in lines


def test_the_training_and_photos_that_cannot_be_used_are_reported(printed):
    rejects = (Reject("missing", "/photos/missing.jpg", "masks", ErrorKind.MISSING, "no such file"),)
    work = Work(1_000, 32, 100, iterations=1_000)
    lines = printed(ON_CPU, machines=Machines(0, 2), work=work, training=TRAINING, rejects=rejects)
    assert "photos that cannot be used: 1; first reason: missing: no such file" in lines
    assert "training: 1000 iterations at 5.00 iterations/s, 3.3 min" in lines
    assert any(line.startswith("memory: up to 943.7 MB per worker, and about ") for line in lines)
