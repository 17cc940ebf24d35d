import io
import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.plain_runs import ledger_of, photo, plain_run, run_inputs, write_artifact

from clipes.tasks.runs.pooled_scores import TemplateScore
from clipes.tasks.runs.templates.ranking import TemplateRanking
from clipes.tasks.runs.templates.ranking_record import (
    ScoredSample,
    correlations,
    write_ranking,
    write_scores,
)
from clipes.tasks.stages.embeddings import EMBEDDINGS, EmbeddingsRow
from clipes.tasks.stages.prompt_scores import MEASURED, PROMPT_SCORES, PromptScoresRow
from clipes.tasks.stages.prompts import PROMPTS, PromptsRow
from clipes.tasks.stages.texts import RankingOfTemplates
from clipes.tasks.storage.run_schemas.tables import RANKING_SCHEMA, RANKING_SCORES_SCHEMA
from clipes_core.errors import ArtifactError, ErrorKind, PhotoError, StageError
from clipes_core.template_ranking import RankedTemplate

TEMPLATES = ("a {}.", "the {}.", "a clean origami {}.")
RANKED = tuple(
    RankedTemplate(rank, template, sharpness)
    for rank, (template, sharpness) in enumerate(zip(TEMPLATES, (0.1, 0.2, 0.3), strict=True), 1)
)
RANKING = TemplateRanking(RANKED, 1, 1)
IDENTITY = "plain 2026-01-01T00:00:00+00:00"
BAD = PhotoError(ErrorKind.MISSING, "gone")
EMBEDDED = EmbeddingsRow(image_id="a", class_ids=(1,), embedding=(1.0,), logit_scale=100.0)


@pytest.fixture
def run(tmp_path):
    inputs = run_inputs((photo("a"),), ranking=RankingOfTemplates(TEMPLATES), sampled=TEMPLATES[:2])
    return plain_run(str(tmp_path), inputs, ("embeddings", "prompts", "prompt_scores"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs" / "plain"


def prompts(run, *rows):
    store = run.store.uri
    return ledger_of(write_artifact(store, EMBEDDINGS, [EMBEDDED] * 2), write_artifact(store, PROMPTS, rows))


def colours(path):
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        assert image.format == "PNG"
        return len(np.unique(np.array(image.convert("RGB")).reshape(-1, 3), axis=0))


def test_a_ranking_writes_a_table_and_a_plot_of_sharpness(run, folder):
    # three templates; photo a has one label, whose score has no variance, and photo b has two
    rows = [
        PromptsRow(image_id="a", class_ids=(1,), scores=(0.3, 0.2, 0.1)),
        PromptsRow(image_id="b", class_ids=(1, 2), scores=(0.1, 0.5, 0.4, 0.4, 0.0, 0.6)),
        PromptsRow.failed("c", BAD, class_ids=(1,)),
    ]

    ranking, facts = write_ranking(run, prompts(run, *rows), IDENTITY)

    # variances 0.04, 0 and 0.09; sums of means 0.3 + 0.3, 0.2 + 0.4 and 0.1 + 0.3
    expected = [("the {}.", 0), ("a {}.", 0.04 / 0.6), ("a clean origami {}.", 0.09 / 0.4)]
    table = pq.read_table(folder / "prompts.parquet")
    assert table.schema.equals(RANKING_SCHEMA)
    assert table.to_pylist() == [
        {"rank": rank, "template": template, "sharpness": pytest.approx(sharpness, abs=1e-6)}
        for rank, (template, sharpness) in enumerate(expected, 1)
    ]
    assert [each.template for each in ranking.ranked] == [template for template, _ in expected]
    assert facts == {
        "template": "the {}.",
        "sharpness": pytest.approx(0, abs=1e-6),
        "templates": 3,
        "photos_one_label": 1,
        "photos_several_labels": 1,
        "pooling": "patch_mean",
        "photos_encoded": 2,
    }
    assert table.schema.metadata[b"clipes.photos_encoded"] == b"2"
    assert table.schema.metadata[b"clipes.run"] == IDENTITY.encode()
    assert colours(folder / "prompts.png") > 10


def test_without_scores_nothing_is_written(run, folder):
    with pytest.raises(StageError, match=r"^no photo with labels could be encoded: see rejects\.parquet$"):
        write_ranking(run, prompts(run, PromptsRow.failed("c", BAD, class_ids=(1,))), IDENTITY)
    assert not folder.exists()


def scored(*right):
    """Return the scores of a photo of ten pixels, given the share that each template labels correctly."""
    cells = [
        (template, *measured, 1, int(not wrong), pixels)
        for template, share in enumerate(right)
        for measured in MEASURED
        for wrong, pixels in ((False, share), (True, 10 - share))
    ]
    names = ("template", "scored", "background_power", "truth", "prediction", "pixels")
    return PromptScoresRow(image_id="a", **dict(zip(names, zip(*cells, strict=True), strict=True)))


def test_the_scores_of_the_sample_write_a_table_and_a_plot(run, folder):
    ledger = ledger_of(write_artifact(run.store.uri, PROMPT_SCORES, [scored(5, 9)]))

    sample, facts = write_scores(run, ledger, RANKING, IDENTITY)

    assert sample.ranked == RANKED[:2]
    one = pytest.approx(1)
    assert facts == {"templates": 2, "photos": 1, "spearman_initial": one, "spearman_refined": one}
    table = pq.read_table(folder / "prompt_scores.parquet")
    assert table.schema.equals(RANKING_SCORES_SCHEMA)
    assert table.to_pylist() == [
        {
            "rank": rank,
            "template": TEMPLATES[rank - 1],
            "sharpness": rank / 10,
            "initial_miou": miou,
            "initial_power": 1,
            "refined_miou": miou,
            "refined_power": 1,
        }
        for rank, miou in ((1, 0.5), (2, 0.9))
    ]
    assert table.schema.metadata[b"clipes.photos"] == b"1"
    assert table.schema.metadata[b"clipes.run"] == IDENTITY.encode()
    assert colours(folder / "prompt_scores.png") > 10


def test_missing_scores_are_null_and_have_no_correlation(run, folder):
    ledger = ledger_of(write_artifact(run.store.uri, PROMPT_SCORES, [PromptScoresRow.failed("a", BAD)]))

    sample, facts = write_scores(run, ledger, RANKING, IDENTITY)

    assert facts == {"templates": 2, "photos": 0, "spearman_initial": None, "spearman_refined": None}
    assert math.isnan(sample.spearman_initial)
    rows = pq.read_table(folder / "prompt_scores.parquet").to_pylist()
    assert [(row["initial_miou"], row["refined_miou"]) for row in rows] == [(None, None)] * 2


def test_true_masks_without_labels_give_no_scores_to_templates(run):
    row = scored(5, 9)
    without = replace(row, truth=(0,) * len(row.truth))
    ledger = ledger_of(write_artifact(run.store.uri, PROMPT_SCORES, [without]))
    sample, facts = write_scores(run, ledger, RANKING, IDENTITY)
    assert facts == {"templates": 2, "photos": 0, "spearman_initial": None, "spearman_refined": None}
    assert all(math.isnan(score.initial_miou) for score in sample.scores)


def test_an_artifact_that_cannot_be_read_is_an_error(run, tmp_path):
    ranked = prompts(run, PromptsRow(image_id="a", class_ids=(1,), scores=(0.3, 0.2, 0.1)))
    sampled = ledger_of(write_artifact(run.store.uri, PROMPT_SCORES, [scored(5, 9)]))
    for path in tmp_path.rglob("*.parquet"):
        path.unlink()
    with pytest.raises(ArtifactError, match="is missing: run again"):
        write_ranking(run, ranked, IDENTITY)
    with pytest.raises(ArtifactError, match="is missing: run again"):
        write_scores(run, sampled, RANKING, IDENTITY)


def test_correlations_are_printed_with_their_sample_sizes():
    sample = ScoredSample(RANKED[:2], (TemplateScore(0.5, 1, 0.5, 1),) * 2, 7, -0.256, 0.5)
    assert correlations(sample) == (
        "initial CAM: Spearman -0.26 (2 templates, 7 photos)",
        "refined CAM: Spearman +0.50 (2 templates, 7 photos)",
    )
