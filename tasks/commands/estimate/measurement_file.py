"""The file in the folder of a run that keeps the measured costs of a sample for later calls."""

import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter, ValidationError

from clipes.tasks.commands.estimate.forecast import Measurement
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.storage.layout import ESTIMATE_FILE
from clipes.tasks.storage.run_files import RunFiles, read_estimate
from clipes_core.config.run import RunConfig
from clipes_core.errors import BrokenArtifactError

MEASUREMENT = TypeAdapter(Measurement)


def made_with(config: RunConfig, slots: Mapping[str, Sequence[WorkerSlot]]) -> dict[str, Any]:
    """Return what the costs of a sample depend on: its config, the version of clipes, the host and its workers."""
    workers = {kind: [asdict(slot) for slot in own] for kind, own in slots.items()}
    return {
        "config": config.model_dump(mode="json"),
        "version": version("clipes"),
        "host": socket.gethostname(),
        "workers": workers,
    }


def read_measurement(config: RunConfig, expected: Mapping[str, Any]) -> Measurement | None:
    """Return the costs of a sample that an earlier call has measured; None if there are none.

    Args:
        config: config of the sample, with its name resolved.
        expected: what the costs must have been measured with, as `made_with` returns it.
    """
    with suppress(BrokenArtifactError, ValidationError):  # the sample is then measured again
        kept = read_estimate(RunFiles(config.store, config.name))
        if kept is not None and kept["made_with"] == expected:
            return MEASUREMENT.validate_python(kept["measurement"])
    return None


def write_measurement(config: RunConfig, measured: Measurement, made: Mapping[str, Any]) -> None:
    """Write the costs of a sample to the folder of its run."""
    kept = {"made_with": dict(made), "measurement": MEASUREMENT.dump_python(measured, mode="json")}
    RunFiles(config.store, config.name).write_json(ESTIMATE_FILE, kept)
