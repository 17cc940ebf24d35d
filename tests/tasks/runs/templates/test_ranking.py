import numpy as np
import pytest
from support.plain_runs import write_artifact
from support.prepared import prepare_ranking
from support.small_runs import make_run

from clipes.tasks.inputs.templates import PAPER_TEMPLATES, shipped_templates
from clipes.tasks.runs.templates.ranking import TemplateRanking, counted, sampled_templates, template_ranking
from clipes.tasks.stages.prompts import PROMPTS, PromptsRow
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import StageError
from clipes_core.template_ranking import RankedTemplate


def ranking_of(templates):
    return TemplateRanking(tuple(RankedTemplate(rank, each, rank / 9) for rank, each in enumerate(templates, 1)), 3, 4)


def test_a_sample_is_spread_over_the_ranks_and_includes_the_paper_templates():
    templates = shipped_templates()
    for order in (templates, templates[::-1], templates[40:] + templates[:40]):
        sampled = sampled_templates(ranking_of(order), 20)
        assert {order[0], order[40], order[-1], *PAPER_TEMPLATES} <= set(sampled)
        assert 20 <= len(sampled) <= 23
        assert list(sampled) == [each for each in order if each in sampled]


def test_a_small_ranking_is_its_own_sample():
    assert sampled_templates(ranking_of(("a {}.", "b {}.")), 20) == ("a {}.", "b {}.")


def test_counted_gives_the_numbers_of_templates_and_photos():
    assert counted(ranking_of(("a {}.",))) == "1 templates on 7 photos: 3 with one label, 4 with several"


def test_failed_photos_are_not_counted(tiny, pool):
    labels = {"a": "cat", "b": "cat;dog", "c": "dog;bird;cat", "d": "", "e": "dog"}
    for name, each in labels.items():
        tiny.add(name, each)
    (tiny.folder / "e.png").write_bytes(b"no picture")
    made = make_run(prepare_ranking(tiny.config(execution={"shards": 3}), ("a {}.", "the {}.")), pool)

    ranking = template_ranking(made.run.store, [record.uri for record in made.of("prompts")], ("a {}.", "the {}."))

    assert len(made.of("prompts")) > 1
    assert (ranking.photos_one_label, ranking.photos_several_labels, ranking.photos) == (1, 2, 3)


def test_a_sharpness_that_is_not_finite_is_an_error(tmp_path):
    rows = [PromptsRow(image_id="a", class_ids=(1, 2), scores=(0.0, 0.0))]
    uri = write_artifact(str(tmp_path), PROMPTS, rows).uri
    with (
        np.errstate(all="ignore"),
        pytest.raises(StageError, match=r"^the sharpness of a template contains NaN or inf"),
    ):
        template_ranking(ArtifactStore(str(tmp_path)), [uri], ("a {}.",))


def test_a_ranking_without_any_encoded_photo_is_an_error(tiny, pool):
    tiny.add("a", "cat").write_bytes(b"no picture")
    made = make_run(prepare_ranking(tiny.config(), ("a {}.",)), pool)
    with pytest.raises(StageError, match="no photo with labels could be encoded"):
        template_ranking(made.run.store, [record.uri for record in made.of("prompts")], ("a {}.",))
