"""Print a forecast as a table and a few sentences."""

from rich.console import Console

from clipes.flows.estimation import Estimate
from clipes.flows.terminal.result_tables import new_table, print_table
from clipes.tasks.commands.estimate.advice import advice
from clipes.tasks.commands.estimate.forecast import Machines

MINUTE, HOUR, DAY = 60, 3600, 86_400  # [s]
SECONDS = {"s": 1, "min": MINUTE, "h": HOUR, "d": DAY}
UNITS = (("d", "h", 2 * DAY), ("h", "min", HOUR), ("min", "s", 0))  # the two units, and from which duration on [s]


def print_estimate(console: Console, estimate: Estimate) -> None:
    """Print the costs of the stages, the forecast of the whole run, its bottleneck and what would relieve it."""
    measured, work, forecast = estimate.measured, estimate.work, estimate.forecast
    table = new_table("stage", "runs on", "s/photo", "core s/photo", "kB/photo", "GPU-hours", "core-hours")
    for stage in measured.stages:
        table.add_row(
            stage.stage,
            "gpu" if stage.gpu_seconds else "cpu",
            f"{stage.seconds:.3f}",
            f"{stage.cpu_seconds:.3f}",
            f"{stage.stored_bytes / 1e3:.1f}",
            f"{stage.rows(work) * stage.gpu_seconds / HOUR:.2f}" if stage.gpu_seconds else "",
            f"{stage.rows(work) * stage.cpu_seconds / HOUR:.2f}",
        )
    print_table(console, table)
    console.print(f"measured on {measured.work.photos} photos, with {_machines(measured.machines)}")
    if estimate.rejects:
        count, first = len(estimate.rejects), estimate.rejects[0]
        console.print(f"photos that cannot be used: {count}; first reason: {first.image_id}: {first.reason}")
    if measured.training is not None:
        rate = 1 / measured.training.iteration_seconds
        duration = time_text(forecast.training_seconds)
        console.print(f"training: {work.iterations} iterations at {rate:.2f} iterations/s, {duration}")
    console.print(
        f"{work.photos} photos: {forecast.gpu_seconds / HOUR:.1f} GPU-hours, {forecast.core_seconds / HOUR:.1f} "
        f"core-hours; {forecast.stored_bytes / 1e9:.2f} GB in the store"
    )
    peaks = [stage.peak_memory_mib for stage in measured.stages]
    if measured.training is not None:
        peaks.append(measured.training.peak_memory_mib)
    console.print(
        f"memory: up to {max(peaks) / 1024:.1f} GiB per worker, and about {forecast.head_bytes / 2**30:.1f} GiB for "
        f"the process of the flow, which reads and sends about {forecast.traffic_bytes / 1e9:.2f} GB"
    )
    console.print(f"time with {_machines(estimate.machines)}: {time_text(forecast.wall_seconds)}")
    for line in advice(estimate.config, measured, work, estimate.machines, forecast):
        console.print(line)


def time_text(seconds: float) -> str:
    """Return a duration in its two largest units, such as 3 h 20 min."""
    if round(seconds) < MINUTE:
        return f"{round(seconds)} s"
    for large, small, least in UNITS:
        whole = round(seconds / SECONDS[small])
        if whole * SECONDS[small] >= least:
            per = SECONDS[large] // SECONDS[small]
            return f"{whole // per} {large} {whole % per} {small}"
    raise AssertionError("unreachable: the last unit fits every duration")


def _machines(machines: Machines) -> str:
    cores = f"{machines.cores} core{'s' if machines.cores > 1 else ''}"
    return f"{machines.gpus} GPU{'s' if machines.gpus > 1 else ''} and {cores}" if machines.gpus else cores
