"""Name the bottleneck of a forecast run, and the settings that relieve it."""

import math
from collections.abc import Iterator

from clipes.tasks.commands.estimate.forecast import Forecast, Machines, Measurement, Work
from clipes.tasks.plan.time_limit import LargestShard, describe_excess
from clipes_core.config.run import RunConfig


def advice(
    config: RunConfig, measured: Measurement, work: Work, machines: Machines, forecast: Forecast
) -> Iterator[str]:
    """Yield sentences for the user: the bottleneck with what relieves it, and shards that are too large."""
    yield f"bottleneck: {_bottleneck(config, measured, work, machines, forecast)}"
    largest = [
        LargestShard(stage.stage, math.ceil(stage.rows(work) / work.shards), stage.seconds, "measured on the sample")
        for stage in measured.stages
    ]
    excess = describe_excess(largest, work.shards, config.execution.shard_timeout_s)
    if excess is not None:
        yield excess


def _bottleneck(config: RunConfig, measured: Measurement, work: Work, machines: Machines, forecast: Forecast) -> str:
    if forecast.bottleneck == "training":
        more = "use more GPUs, or set train.iterations" if machines.gpus else "use a GPU, or set train.iterations"
        return f"the training. To shorten it, {more} to a lower number"
    if forecast.bottleneck == "start":
        return "the start of the program and of its workers, which does not depend on the number of photos"
    if forecast.bottleneck == "gpus":
        return f"the GPUs. {_balance(forecast, machines)}More GPUs shorten the run: execution.runner.kind=ray"
    on_cores = [stage for stage in measured.stages if not stage.gpu_seconds] or measured.stages
    busiest = max(on_cores, key=lambda stage: stage.cpu_seconds * stage.rows(work))
    if machines.gpus:
        needed = math.ceil(forecast.core_seconds / (forecast.gpu_seconds / machines.gpus))
        keep = f"{machines.gpus} GPUs keep" if machines.gpus > 1 else "One GPU keeps"
        return (
            f"the processor cores, most of all for {busiest.stage}. {keep} {needed} cores busy: use "
            "more cores (execution.runner.kind=ray adds those of other machines), or set crf.device=cuda"
        )
    return f"the processor cores, most of all for {busiest.stage}: use more cores or a GPU (execution.runner.kind=ray)"


def _balance(forecast: Forecast, machines: Machines) -> str:
    idle = 1 - forecast.core_seconds / machines.cores / forecast.stages_seconds
    return f"The cores are idle for {idle:.0%} of the time. "
