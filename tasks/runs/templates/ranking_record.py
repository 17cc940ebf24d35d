"""The files of a ranking under <store>/runs/<name>: tables and plots."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from clipes.tasks.inputs.templates import PAPER_TEMPLATES
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.pooled_scores import TemplateScore, pooled_template_scores
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.runs.stage_summary import summaries
from clipes.tasks.runs.templates.ranking import TemplateRanking, ranking_json, template_ranking
from clipes.tasks.runs.truth_warnings import scored_truths
from clipes.tasks.stages.embeddings import EMBEDDINGS
from clipes.tasks.stages.prompt_scores import PROMPT_SCORES
from clipes.tasks.stages.prompts import PROMPTS
from clipes.tasks.storage.layout import RANKING_PLOT, RANKING_SCORES_PLOT, RANKING_SCORES_TABLE, RANKING_TABLE
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_schemas.tables import RANKING_SCHEMA, RANKING_SCORES_SCHEMA
from clipes_core.template_ranking import RankedTemplate, spearman


@dataclass(frozen=True)
class ScoredSample:
    """The CAM scores of the sampled templates, and their correlation with sharpness.

    Attributes:
        ranked: the sampled templates, the lowest sharpness first.
        scores: scores of each sampled template.
        photos: number of scored photos, all of which have a true mask.
        spearman_initial: rank correlation of sharpness with the mIoU of the initial CAMs, in [-1, 1] or nan.
        spearman_refined: rank correlation of sharpness with the mIoU of the refined CAMs, in [-1, 1] or nan.
    """

    ranked: tuple[RankedTemplate, ...]
    scores: tuple[TemplateScore, ...]
    photos: int
    spearman_initial: float
    spearman_refined: float


def write_ranking(run: PreparedRun, ledger: Ledger, identity: str) -> tuple[TemplateRanking, dict[str, Any]]:
    """Rank the candidate templates by sharpness; write prompts.parquet and prompts.png.

    Args:
        run: the run.
        ledger: state of the run's shards.
        identity: `run_identity` of the run, for the table.

    Returns:
        The ranking, and its entry in metrics.json.

    Raises:
        ArtifactError: an artifact of the stage `prompts` cannot be read.
        StageError: no photo has scores.
    """
    from clipes.tasks.runs.templates.ranking_plots import ranking_png  # imports matplotlib, which only rankings need

    uris = [record.uri for record in ledger.records(PROMPTS.name)]
    ranking = template_ranking(run.store, uris, run.inputs.candidates)
    encoded = summaries(ledger, [EMBEDDINGS.name])[EMBEDDINGS.name].computed_rows
    facts = ranking_json(ranking, run.config.clip.pooling, encoded)
    table = pa.Table.from_pylist(
        [asdict(each) for each in ranking.ranked], schema=_with_metadata(RANKING_SCHEMA, facts)
    )
    files = RunFiles(run.store.uri, run.config.name)
    files.write_table(RANKING_TABLE, table, identity)
    files.write_bytes(RANKING_PLOT, ranking_png(ranking, PAPER_TEMPLATES))
    return ranking, facts


def write_scores(
    run: PreparedRun, ledger: Ledger, ranking: TemplateRanking, identity: str
) -> tuple[ScoredSample, dict[str, Any]]:
    """Compute the scores of the sampled templates; write prompt_scores.parquet and prompt_scores.png.

    Args:
        run: the run.
        ledger: state of the run's shards.
        ranking: ranking of all candidate templates.
        identity: `run_identity` of the run, for the table.

    Returns:
        The scores, and their entry in metrics.json.

    Raises:
        ArtifactError: an artifact of the stage `prompt_scores` cannot be read.
    """
    from clipes.tasks.runs.templates.ranking_plots import sharpness_png  # imports matplotlib

    sample = _scored_sample(run, ledger, ranking)
    facts = {
        "templates": len(sample.ranked),
        "photos": sample.photos,
        "spearman_initial": _number(sample.spearman_initial),
        "spearman_refined": _number(sample.spearman_refined),
    }
    rows = [
        {**asdict(each), **{key: _number(value) for key, value in asdict(score).items()}}
        for each, score in zip(sample.ranked, sample.scores, strict=True)
    ]
    table = pa.Table.from_pylist(rows, schema=_with_metadata(RANKING_SCORES_SCHEMA, facts))
    files = RunFiles(run.store.uri, run.config.name)
    files.write_table(RANKING_SCORES_TABLE, table, identity)
    marked = [each.template in PAPER_TEMPLATES for each in sample.ranked]
    png = sharpness_png([each.sharpness for each in sample.ranked], sample.scores, marked, correlations(sample))
    files.write_bytes(RANKING_SCORES_PLOT, png)
    return sample, facts


def correlations(sample: ScoredSample) -> tuple[str, str]:
    """Return two lines of text: the correlation of sharpness with mIoU for the initial and for the refined CAMs."""
    basis = f"{len(sample.ranked)} templates, {sample.photos} photos"
    return (
        f"initial CAM: Spearman {sample.spearman_initial:+.2f} ({basis})",
        f"refined CAM: Spearman {sample.spearman_refined:+.2f} ({basis})",
    )


def _scored_sample(run: PreparedRun, ledger: Ledger, ranking: TemplateRanking) -> ScoredSample:
    meaningless = scored_truths(run, ledger, PROMPT_SCORES).meaningless
    uris = [] if meaningless else [record.uri for record in ledger.records(PROMPT_SCORES.name)]
    sampled = run.inputs.sampled
    scores, photos = pooled_template_scores(run.store, uris, len(sampled), 1 + len(run.inputs.vocabulary.classes))
    ranked = {each.template: each for each in ranking.ranked}
    own = tuple(ranked[template] for template in sampled)
    sharpness = [each.sharpness for each in own]
    return ScoredSample(
        own,
        tuple(scores),
        photos,
        _spearman(sharpness, [score.initial_miou for score in scores]),
        _spearman(sharpness, [score.refined_miou for score in scores]),
    )


def _spearman(sharpness: Sequence[float], miou: Sequence[float]) -> float:
    return float("nan") if any(map(math.isnan, miou)) else spearman(sharpness, miou)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _with_metadata(schema: pa.Schema, facts: dict[str, Any]) -> pa.Schema:
    return schema.with_metadata({f"clipes.{name}": str(value) for name, value in facts.items()})
