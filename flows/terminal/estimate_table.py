"""Print a forecast as a table and a few sentences."""

from rich.console import Console
from rich.filesize import decimal

from clipes.flows.estimation import Estimate
from clipes.flows.terminal.tables import new_table, print_table
from clipes.tasks.commands.estimate.advice import advice
from clipes.tasks.commands.estimate.forecast import Machines
from clipes.tasks.ui.durations import rough_duration


def print_estimate(console: Console, estimate: Estimate) -> None:
    """Print the costs of the stages, the forecast of the whole run, its bottleneck and what would relieve it."""
    measured, work, forecast = estimate.measured, estimate.work, estimate.forecast
    columns = ["stage", "runs on", "time/photo", "core time/photo", "size/photo", "core time"]
    with_gpu = forecast.gpu_seconds > 0
    table = new_table(*columns, *(["GPU time"] if with_gpu else []))
    for stage in measured.stages:
        rows = stage.rows(work)
        cells = [
            stage.stage,
            "gpu" if stage.gpu_seconds else "cpu",
            rough_duration(stage.seconds),
            rough_duration(stage.cpu_seconds),
            decimal(round(stage.stored_bytes)),
            rough_duration(rows * stage.cpu_seconds),
        ]
        if with_gpu:
            cells.append(rough_duration(rows * stage.gpu_seconds) if stage.gpu_seconds else "")
        table.add_row(*cells)
    print_table(console, table)
    console.print(f"measured on {measured.work.photos} photos, with {_machines(measured.machines)}")
    if estimate.rejects:
        count, first = len(estimate.rejects), estimate.rejects[0]
        console.print(f"photos that cannot be used: {count}; first reason: {first.image_id}: {first.reason}")
    if measured.training is not None:
        rate = 1 / measured.training.iteration_seconds
        duration = rough_duration(forecast.training_seconds)
        console.print(f"training: {work.iterations} iterations at {rate:.2f} iterations/s, {duration}")
    gpu_time = f"{rough_duration(forecast.gpu_seconds)} of GPU time, " if with_gpu else ""
    console.print(
        f"{work.photos} photos: {gpu_time}{rough_duration(forecast.core_seconds)} of core time, "
        f"{decimal(round(forecast.stored_bytes))} in the store"
    )
    peaks = [stage.peak_memory_mib for stage in measured.stages]
    if measured.training is not None:
        peaks.append(measured.training.peak_memory_mib)
    console.print(
        f"memory: up to {decimal(max(peaks) << 20)} per worker, and about {decimal(round(forecast.head_bytes))} for "
        f"the process of the flow, which reads and sends about {decimal(round(forecast.traffic_bytes))}"
    )
    console.print(f"time with {_machines(estimate.machines)}: {rough_duration(forecast.wall_seconds)}")
    for line in advice(estimate.config, measured, work, estimate.machines, forecast):
        console.print(line)


def _machines(machines: Machines) -> str:
    cores = f"{machines.cores} core{'s' if machines.cores > 1 else ''}"
    return f"{machines.gpus} GPU{'s' if machines.gpus > 1 else ''} and {cores}" if machines.gpus else cores
