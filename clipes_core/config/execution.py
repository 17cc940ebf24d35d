"""The settings of the execution: shards, workers, retries and time limits. They change no result."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from clipes_core.config.section import Section

DECODE_MEMORY_MIB = 1024
MOST_SHARDS = 100_000


class RunnerConfig(Section):
    """The runner, which computes the shards of a run. All keys other than `kind` are settings of the chosen runner."""

    model_config = ConfigDict(extra="allow")

    kind: str = Field(
        "local",
        description="Name of the runner. local: worker processes on this machine compute the shards; inline (for "
        "debugging): the process that runs the flow computes the shards itself; ray: worker processes on the machines "
        "of a Ray cluster compute the shards.",
    )


class ExecutionConfig(Section):
    """How clipes divides the work, and which processes do it. No setting of this section changes a result."""

    shards: Annotated[int, Field(ge=1, le=MOST_SHARDS)] | Literal["auto"] = Field(
        "auto",
        description="Number of shards (parts) into which clipes divides the photos. auto: the number of the last run "
        "of the same name (32 for the first run), doubled until a shard has at most 1,000 photos on average. If the "
        "number is doubled, clipes copies the finished rows to the new shards. If the number changes in another way, "
        "clipes processes the photos that move to another shard again. The results do not change.",
    )
    runner: RunnerConfig = Field(
        default_factory=RunnerConfig, description="The runner, which computes the shards, and the runner's settings."
    )
    gpu_workers: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto",
        description="Number of worker processes for stages that run networks. auto: one process per GPU. Without a "
        "GPU, auto means one process per core, each with one thread, or fewer if there is less than 3 GiB of free "
        "memory for each. The training of the segmenter uses at most one process per GPU. Without a GPU, it uses one "
        "process with auto, and at most this number otherwise.",
    )
    cpu_workers: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(
        "auto",
        description="Number of worker processes for stages that run no network. For example, the stage `masks` runs no "
        "network. auto: one process per processor core.",
    )
    max_failure_rate: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Largest permitted share of photos that fail in a stage for a permanent cause. If more photos "
        "fail, and also more than tolerated_failures, the run fails. 0: no photo may fail.",
    )
    tolerated_failures: int = Field(
        3,
        ge=0,
        le=1_000_000,
        description="Number of photos that may fail in a stage even if they are a larger share than max_failure_rate, "
        "as in a small data set; but never more than half of the photos. max_failure_rate=0 overrides it.",
    )
    retries: int = Field(
        2,
        ge=0,
        le=50,
        description="Maximum number of retries of a shard that fails for a transient cause. Prefect allows at most 50.",
    )
    shard_timeout_s: float = Field(
        3600,
        gt=0,
        le=100_000_000,
        description="Time limit of a shard [s]. clipes stops a shard that takes longer. A training may take longer: "
        "clipes stops a training only if the training makes no progress for this number of seconds.",
    )
    decode_memory_mib: int = Field(
        DECODE_MEMORY_MIB,
        ge=1,
        le=1 << 20,
        description="Memory that a worker process uses to decode photos [MiB]. clipes decodes photos at the same time "
        "only if together they need at most this much. A photo that needs more is decoded alone.",
    )
    loader_workers: Annotated[int, Field(ge=0, le=256)] | Literal["auto"] = Field(
        "auto",
        description="Number of processes per device that load training photos. auto: the number of processor cores "
        "per device, but at most 8. 0: the training process itself loads the photos.",
    )
    cache_gb: float = Field(
        20,
        gt=0,
        le=1_000_000,
        description="Maximum size of the local cache [GB] for training files that come from remote stores.",
    )


def permitted_failures(photos: int, max_failure_rate: float, tolerated_failures: int) -> float:
    """Return how many photos of a stage may fail for a permanent cause before the run fails.

    Args:
        photos: number of photos of the stage.
        max_failure_rate: value of `execution.max_failure_rate`, in [0, 1].
        tolerated_failures: value of `execution.tolerated_failures`.

    Returns:
        The larger one of two limits: the share `max_failure_rate` of the photos, which need not be a whole number, and
        `tolerated_failures`, but at most half of the photos. 0 if `max_failure_rate` is 0.
    """
    if max_failure_rate == 0:
        return 0
    return max(max_failure_rate * photos, min(tolerated_failures, photos // 2))


def describe_limit(permitted: float, max_failure_rate: float, tolerated_failures: int) -> str:
    """Return the limit of `permitted_failures` in words, with the settings that decide it.

    Args:
        permitted: result of `permitted_failures`.
        max_failure_rate: value of `execution.max_failure_rate`.
        tolerated_failures: value of `execution.tolerated_failures`.
    """
    rate = f"execution.max_failure_rate={max_failure_rate:g}"
    if max_failure_rate == 0:
        return f"more than 0, the limit of {rate}"
    return f"more than {int(permitted)}, the limit of {rate} and execution.tolerated_failures={tolerated_failures}"
