"""Compute the keys of stages. Artifacts under different keys were made with different settings or code."""

from collections.abc import Iterable, Mapping
from typing import Any

from clipes.tasks.plan.keys import digest
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import Stage


def stage_keys(stages: Iterable[Stage], inputs: RunInputs) -> dict[str, str]:
    """Return a key for each stage: a digest of its name, version and settings, and of the keys of its upstream stages.

    Args:
        stages: stages in the order of the pipeline.
        inputs: inputs of the run.

    Returns:
        Stage name -> key. A stage is left out as long as one of its settings, or of the settings of its upstream
        stages, is unknown. For example, the template is unknown until a ranking has chosen it.
    """
    keys: dict[str, str] = {}
    for stage in stages:
        reads = stage.reads(inputs)
        if reads is not None and all(read.name in keys for read in stage.upstream):
            keys[stage.name] = _key(stage, reads, [keys[read.name] for read in stage.upstream])
    return keys


def key_without_upstream(stage: Stage, inputs: RunInputs) -> str:
    """Return the key of a stage that has no upstream stages and whose settings are known."""
    assert not stage.upstream
    reads = stage.reads(inputs)
    assert reads is not None
    return _key(stage, reads, [])


def _key(stage: Stage, reads: Mapping[str, Any], upstream: list[str]) -> str:
    return digest([stage.name, stage.version, dict(reads), upstream])
