"""The ranking of words of classes, and of background words, by CLIP's scores on the photos of a data set."""

from dataclasses import dataclass

from prefect import flow

from clipes.flows.flow_runs import claim_flow_run, completed, wait_for_retry
from clipes.flows.resume_advice import explain_retry
from clipes.tasks.execution.runner import check_runner, runner_for
from clipes.tasks.execution.scheduler import scheduler_for
from clipes.tasks.inputs.configs import resolve_config
from clipes.tasks.inputs.flow_parameter import ConfigParameter
from clipes.tasks.plan.caching import Reuse
from clipes.tasks.runs.failures import check_failure_rate
from clipes.tasks.runs.inputs.photos import list_photos
from clipes.tasks.runs.inputs.vocabulary import checked_vocabulary
from clipes.tasks.runs.preparation import prepare_ranking
from clipes.tasks.runs.record.recorder import RunSummary, record_run
from clipes.tasks.runs.words.ranking import WordFindings
from clipes.tasks.runs.words.record import FINDINGS, write_words
from clipes.tasks.runs.words.request import WordRequest, check_classes, check_shown, check_template
from clipes.tasks.stages.embeddings import EMBEDDINGS
from clipes.tasks.stages.registry import MANIFEST
from clipes.tasks.stages.texts import TEXTS
from clipes.tasks.stages.words.word_scores import WORD_SCORES
from clipes.tasks.stages.words.word_texts import WORD_TEXTS, RankingOfWords
from clipes.tasks.ui.ranking_table import show_words
from clipes.tasks.ui.result_message import result_message


@dataclass(frozen=True)
class WordRanking:
    """The result of a ranking of words: metrics and the location of its files, and the scores of the words."""

    summary: RunSummary
    found: WordFindings


@flow(name="clipes-synonyms", flow_run_name="{config.name}", on_running=[claim_flow_run], on_crashed=[wait_for_retry])
def word_ranking(
    config: ConfigParameter,
    request: WordRequest,
    fresh: bool = False,
    verify: bool = False,
    retry_errors: bool = False,
) -> WordRanking:
    """Rank words by CLIP's scores. Each photo is encoded only once, however many words and rankings there are.

    Args:
        config: All settings of the ranking.
        request: The words to rank: candidates for classes, or background words.
        fresh: If true, reuse nothing from the store, and compute all stages of the ranking again.
        verify: If true, read every artifact completely before it counts as cached, and rebuild damaged artifacts. If
            false, check most artifacts by their Parquet footer only.
        retry_errors: If true, also retry photos that failed for a permanent cause, such as a missing or damaged file.

    Returns:
        The scores of the words, and the location of the ranking's files.

    Raises:
        UsageError: the config, the data set or the weights must be corrected before the ranking can start.
        StageError: some shards failed, or too many photos failed. Finished shards are kept.
    """
    config = resolve_config(config)
    vocabulary, reuse = checked_vocabulary(config), Reuse(fresh, verify, retry_errors)
    check_runner(config)
    check_template(config)
    listing = list_photos(config)
    check_classes(vocabulary, request.classes)
    check_shown(listing, vocabulary, request.classes)
    with runner_for(config, photos=listing.photos) as runner:
        ranked = RankingOfWords(request.words)
        run = prepare_ranking(config, ranked, listing, runner.network_workers(), reuse=reuse)
        with explain_retry(), record_run(run) as record, scheduler_for(run, record.ledger, runner) as scheduler:
            check_failure_rate(record.ledger, MANIFEST)
            scheduler.submit(run, TEXTS.name)
            scheduler.submit(run, WORD_TEXTS.name)
            scheduler.wait()  # so that a prompt that is too long for CLIP is reported before any photo is encoded
            scheduler.submit(run, EMBEDDINGS.name)
            scheduler.submit(run, WORD_SCORES.name)
            scheduler.wait()
            record.confirm()
            found, record.findings[FINDINGS] = write_words(run, record.ledger, request, record.identity)
            show_words(config.name, found)
    ranking = WordRanking(record.summary(), found)
    return completed(ranking, result_message(ranking.summary, record.ledger))
