"""Preparation of runs and rankings on the devices of this host."""

from clipes.tasks.machine.devices import gpu_slots
from clipes.tasks.plan.caching import REUSE_ALL, Reuse
from clipes.tasks.runs import preparation
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes_core.config.run import RunConfig


def prepare_run(config: RunConfig, until: str, reuse: Reuse = REUSE_ALL) -> PreparedRun:
    """Prepare a run for the GPU workers that the local runner would start."""
    preparation.check_request(config, until)
    listing, slots = preparation.list_photos(config), gpu_slots(config.clip, config.execution)
    return preparation.prepare_run(config, until, listing, slots, reuse)


def prepare_ranking(
    config: RunConfig, candidates: tuple[str, ...], scored_photos: int = 0, reuse: Reuse = REUSE_ALL
) -> PreparedRun:
    """Prepare a ranking for the GPU workers that the local runner would start."""
    listing, slots = preparation.list_photos(config), gpu_slots(config.clip, config.execution)
    return preparation.prepare_ranking(config, candidates, listing, slots, scored_photos, reuse)
