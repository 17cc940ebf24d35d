"""Prompt selection: which template names the classes best, judged by sharpness (CLIP-ES sec. 3.2)."""

import logging
from dataclasses import dataclass

from prefect import flow

from clipes.flows.flow_runs import own_flow_run
from clipes.flows.resume import told_how_to_retry
from clipes.tasks.execution.scheduler import Crew, hired_crew
from clipes.tasks.inputs.configs import resolved
from clipes.tasks.plan.shard_plan import Reuse
from clipes.tasks.runs.preparation import PreparedRun, prepare_ranking
from clipes.tasks.runs.ranking import TemplateRanking, counted, sampled_templates
from clipes.tasks.runs.ranking_record import ScoredSample, written_ranking, written_scores
from clipes.tasks.runs.recorder import RunRecord, RunSummary, recorded_run
from clipes.tasks.ui.ranking_table import show_ranking
from clipes_core.config.run import RunConfig

MIOU_PHOTOS = 64

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PromptSelection:
    """What a ranking came to.

    Attributes:
        summary: where the run's files are, and its numbers.
        ranking: the templates by sharpness.
        sample: the CAM scores of some of them, where asked for.
    """

    summary: RunSummary
    ranking: TemplateRanking
    sample: ScoredSample | None


@flow(name="clipes-prompts", flow_run_name="{config.name}", on_running=[own_flow_run])
def prompt_selection(
    config: RunConfig,
    candidates: tuple[str, ...],
    miou_templates: int = 0,
    miou_photos: int = MIOU_PHOTOS,
    fresh: bool = False,
    verify: bool = False,
    retry_errors: bool = False,
) -> PromptSelection:
    """Rank templates by sharpness; each photo is encoded once, however many templates there are.

    Args:
        config: Photos, classes, CLIP; its own template does not count.
        candidates: The templates, different ones.
        miou_templates: Of how many templates the CAMs are scored against the truth; 0 for none.
        miou_photos: On how many photos.
        fresh: Use nothing that is in the store: all stages of the ranking are computed again.
        verify: Read every artifact wholly before it counts as cached; a damaged one is made again. Else it is enough
            that it opens.
        retry_errors: Compute photos again that failed for a lasting cause (missing, undecodable, ...), as after
            permissions or files were mended. Causes that may pass are tried again anyway.

    Returns:
        The ranking, and where its files are.

    Raises:
        UsageError: something the user can mend before anything runs.
        StageError: shards failed; the others are done.
    """
    reuse = Reuse(fresh, verify, retry_errors)
    run = prepare_ranking(resolved(config), candidates, miou_photos if miou_templates else 0, reuse)
    with told_how_to_retry(), recorded_run(run) as record, hired_crew(run, record.ledger) as crew:
        record.ledger.check("manifest")
        ranking = rank(run, record, crew)
        sample = score_sample(run, record, crew, ranking, miou_templates) if miou_templates else None
    return PromptSelection(record.summary(), ranking, sample)


def choose_template(run: PreparedRun, record: RunRecord, crew: Crew) -> PreparedRun:
    """Rank the run's candidates; the run as it goes on with the sharpest."""
    ranking = rank(run, record, crew)
    best = ranking.ranked[0]
    logger.info("prompts.template auto: %r, sharpness %.5f; %s", best.template, best.sharpness, counted(ranking))
    return _gone_on(run.with_template(best.template), record, crew)


def rank(run: PreparedRun, record: RunRecord, crew: Crew) -> TemplateRanking:
    """Make what the ranking stands on and write it beside the run's files."""
    crew.submit("candidate_texts")
    _wait(record, crew)  # a sentence that CLIP cannot read is told before any photo is encoded
    crew.submit("embeddings")
    crew.submit("prompts")
    _wait(record, crew)
    ranking, record.findings["prompts"] = written_ranking(run, record.ledger)
    photos_encoded = record.findings["prompts"]["photos_encoded"]
    show_ranking(run.config.name, ranking, photos_encoded, run.config.clip.pooling)
    return ranking


def score_sample(
    run: PreparedRun, record: RunRecord, crew: Crew, ranking: TemplateRanking, templates: int
) -> ScoredSample:
    """Score the CAMs of templates from all over the ranking, and write the figure that sets both side by side."""
    run = _gone_on(run.with_sampled(sampled_templates(ranking, templates)), record, crew)
    crew.submit("prompt_scores")
    _wait(record, crew)
    sample, record.findings["prompt_scores"] = written_scores(run, record.ledger, ranking)
    return sample


def _gone_on(run: PreparedRun, record: RunRecord, crew: Crew) -> PreparedRun:
    record.go_on_with(run)
    crew.go_on_with(run)
    return run


def _wait(record: RunRecord, crew: Crew) -> None:
    crew.wait()
    record.ledger.check_shards()
