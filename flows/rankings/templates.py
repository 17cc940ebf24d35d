"""Prompt selection: rank prompt templates by sharpness, and choose the best one (CLIP-ES sec. 3.2)."""

import logging
from dataclasses import dataclass

from prefect import flow

from clipes.flows.flow_runs import claim_flow_run, completed, wait_for_retry
from clipes.flows.resume_advice import explain_retry
from clipes.tasks.execution.runner import check_runner, runner_for
from clipes.tasks.execution.scheduler import Scheduler, scheduler_for
from clipes.tasks.inputs.configs import resolve_config
from clipes.tasks.inputs.flow_parameter import ConfigParameter
from clipes.tasks.plan.caching import Reuse
from clipes.tasks.runs.failures import check_failure_rate
from clipes.tasks.runs.inputs.photos import list_photos
from clipes.tasks.runs.preparation import prepare_ranking
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.record.recorder import RunRecord, RunSummary, record_run
from clipes.tasks.runs.templates.ranking import TemplateRanking, counted, sampled_templates
from clipes.tasks.runs.templates.ranking_record import ScoredSample, write_ranking, write_scores
from clipes.tasks.stages.embeddings import EMBEDDINGS
from clipes.tasks.stages.prompt_scores import PROMPT_SCORES
from clipes.tasks.stages.prompts import PROMPTS
from clipes.tasks.stages.registry import MANIFEST
from clipes.tasks.stages.texts import CANDIDATE_TEXTS, RankingOfTemplates
from clipes.tasks.stages.true_masks import TRUE_MASKS
from clipes.tasks.ui.ranking_table import show_ranking
from clipes.tasks.ui.result_message import result_message

MIOU_PHOTOS = 64

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PromptSelection:
    """The result of a ranking.

    Attributes:
        summary: metrics of the ranking, and the location of its files.
        ranking: the templates, ranked by sharpness.
        sample: CAM scores of some templates; None if no CAM scores were requested.
    """

    summary: RunSummary
    ranking: TemplateRanking
    sample: ScoredSample | None


@flow(name="clipes-prompts", flow_run_name="{config.name}", on_running=[claim_flow_run], on_crashed=[wait_for_retry])
def prompt_selection(
    config: ConfigParameter,
    candidates: tuple[str, ...],
    miou_templates: int = 0,
    miou_photos: int = MIOU_PHOTOS,
    fresh: bool = False,
    verify: bool = False,
    retry_errors: bool = False,
) -> PromptSelection:
    """Rank templates by sharpness. Each photo is encoded only once, however many templates there are.

    Args:
        config: All settings of the ranking. The key prompts.template is ignored.
        candidates: The templates to rank. Each template may occur only once.
        miou_templates: Number of templates whose CAMs are scored against true masks; 0 for none.
        miou_photos: Number of photos on which these CAMs are scored.
        fresh: If true, reuse nothing from the store, and compute all stages of the ranking again.
        verify: If true, read every artifact completely before it counts as cached, and rebuild damaged artifacts. If
            false, check most artifacts by their Parquet footer only.
        retry_errors: If true, also retry photos that failed for a permanent cause, such as a missing or damaged file.
            Use this after repairing files or permissions. Photos that failed for a transient cause are always
            retried.

    Returns:
        The ranking, the requested CAM scores, and the location of the ranking's files.

    Raises:
        UsageError: the config, the data set or the weights must be corrected before the ranking can start.
        StageError: some shards failed, or too many photos failed. Finished shards are kept.
    """
    config, reuse = resolve_config(config), Reuse(fresh, verify, retry_errors)
    check_runner(config)
    listing, scored = list_photos(config), miou_photos if miou_templates else 0
    with runner_for(config, photos=listing.photos) as runner:
        ranked = RankingOfTemplates(candidates)
        run = prepare_ranking(config, ranked, listing, runner.network_workers(), scored, reuse)
        with explain_retry(), record_run(run) as record, scheduler_for(run, record.ledger, runner) as scheduler:
            check_failure_rate(record.ledger, MANIFEST)
            ranking = rank(run, record, scheduler)
            sample = score_sample(run, record, scheduler, ranking, miou_templates) if miou_templates else None
    selection = PromptSelection(record.summary(), ranking, sample)
    return completed(selection, result_message(selection.summary, record.ledger))


def choose_template(run: PreparedRun, record: RunRecord, scheduler: Scheduler) -> PreparedRun:
    """Rank the candidate templates of a run, and return a copy of the run with the best template."""
    ranking = rank(run, record, scheduler)
    best = ranking.ranked[0]
    logger.info(
        "prompts.template is auto: the template is %r, which has the lowest sharpness (%.5f) of %s",
        best.template,
        best.sharpness,
        counted(ranking),
    )
    run = run.with_inputs(run.inputs.with_prompts(template=best.template))
    record.choose(run)
    return run


def rank(run: PreparedRun, record: RunRecord, scheduler: Scheduler) -> TemplateRanking:
    """Compute text features and image embeddings, rank the templates, and write the ranking to the run's folder."""
    scheduler.submit(run, CANDIDATE_TEXTS.name)
    scheduler.wait()  # so that a prompt that is too long for CLIP is reported before any photo is encoded
    scheduler.submit(run, EMBEDDINGS.name)
    scheduler.submit(run, PROMPTS.name)
    scheduler.wait()
    record.confirm()
    ranking, record.findings[PROMPTS.name] = write_ranking(run, record.ledger, record.identity)
    photos_encoded = record.findings[PROMPTS.name]["photos_encoded"]
    show_ranking(run.config.name, ranking, photos_encoded, run.config.clip.pooling)
    return ranking


def score_sample(
    run: PreparedRun, record: RunRecord, scheduler: Scheduler, ranking: TemplateRanking, templates: int
) -> ScoredSample:
    """Score the CAMs of evenly spaced templates of a ranking, and write a comparison of their mIoU and sharpness."""
    run = run.with_inputs(run.inputs.with_sampled(sampled_templates(ranking, templates)))
    record.choose(run)
    scheduler.submit(run, TRUE_MASKS.name)
    scheduler.submit(run, PROMPT_SCORES.name)
    scheduler.wait()
    record.confirm()
    sample, record.findings[PROMPT_SCORES.name] = write_scores(run, record.ledger, ranking, record.identity)
    return sample
