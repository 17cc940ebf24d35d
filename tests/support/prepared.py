"""Preparation of runs and rankings on the devices of this host."""

from typing import Any

from support.small_runs import TinyPhotos

from clipes.tasks.machine.devices import gpu_slots
from clipes.tasks.machine.worker_state import NetworkWorkers
from clipes.tasks.models.clip import weights_digest
from clipes.tasks.plan.caching import REUSE_ALL, Reuse
from clipes.tasks.plan.run_inputs import Ranking
from clipes.tasks.runs import preparation, training_trial
from clipes.tasks.runs.inputs.checks import check_request
from clipes.tasks.runs.inputs.photos import list_photos
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.stages.texts import RankingOfTemplates
from clipes.tasks.stages.words.word_texts import RankingOfWords
from clipes_core.config.run import RunConfig


def prepare_run(config: RunConfig, until: str, reuse: Reuse = REUSE_ALL) -> PreparedRun:
    """Prepare a run for the GPU workers that the local runner would start."""
    check_request(config, until)
    listing = list_photos(config)
    run = preparation.prepare_run(config, until, listing, _network_workers(config), reuse)
    training_trial.check_training(run)
    return run


def prepared(tiny: TinyPhotos, until: str = "mask_scores", reuse: Reuse = REUSE_ALL, **sections: Any) -> PreparedRun:
    """Prepare a run of a small data set, in two shards; `sections` are sections of its config."""
    return prepare_run(tiny.config(**{"execution": {"shards": 2}, **sections}), until, reuse)


def prepare_ranking(
    config: RunConfig, candidates: tuple[str, ...], scored_photos: int = 0, reuse: Reuse = REUSE_ALL
) -> PreparedRun:
    """Prepare a ranking of templates for the GPU workers that the local runner would start."""
    return prepare(config, RankingOfTemplates(candidates), scored_photos, reuse)


def prepare_word_ranking(config: RunConfig, words: tuple[str, ...], reuse: Reuse = REUSE_ALL) -> PreparedRun:
    """Prepare a ranking of words for the GPU workers that the local runner would start."""
    return prepare(config, RankingOfWords(words), reuse=reuse)


def prepare(config: RunConfig, ranking: Ranking, scored_photos: int = 0, reuse: Reuse = REUSE_ALL) -> PreparedRun:
    """Prepare a ranking for the GPU workers that the local runner would start."""
    listing = list_photos(config)
    return preparation.prepare_ranking(config, ranking, listing, _network_workers(config), scored_photos, reuse)


def _network_workers(config: RunConfig) -> NetworkWorkers:
    return NetworkWorkers(gpu_slots(config.clip, config.execution), weights_digest(config.clip))
