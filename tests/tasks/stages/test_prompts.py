import numpy as np
import pytest
from support.oracle import oracle_sharpness
from support.prepared import prepare_ranking, prepare_run
from support.small_runs import make_run

from clipes.tasks.runs.templates.ranking import template_ranking

CANDIDATES = ("a {}.", "a clean origami {}.", "the {}.")


def uris(made):
    return [record.uri for record in made.of("prompts")]


def test_scores_equal_those_of_the_cams(scenes_ranked, scenes_made):
    cams = scenes_made.rows("cams")
    for image_id, row in scenes_ranked.rows("prompts").items():
        scores = np.reshape(row["scores"], (3, -1))
        np.testing.assert_allclose(scores[0], cams[image_id]["scores"], rtol=0, atol=1e-5)
        assert row["class_ids"] == cams[image_id]["class_ids"]


@pytest.mark.parametrize("fusion", ["sentence", "feature", "cam"])
def test_scores_of_a_candidate_equal_those_of_a_run_with_this_template(tiny, pool, fusion):
    tiny.add("a", "bird;person;dog")
    tiny.add("b", "chair")
    made = make_run(prepare_ranking(tiny.config(prompts={"fusion": fusion}), CANDIDATES), pool)
    for place, template in enumerate(CANDIDATES):
        cams = make_run(prepare_run(tiny.config(prompts={"fusion": fusion, "template": template}), "cams"), pool)
        assert [record.cached for record in cams.of("texts")] == [True]  # the ranking computed these texts
        for image_id, row in made.rows("prompts").items():
            scores = np.reshape(row["scores"], (3, -1))[place]
            np.testing.assert_allclose(scores, cams.rows("cams")[image_id]["scores"], rtol=0, atol=1e-5)


def test_templates_are_ranked_by_the_sharpness_of_their_scores(scenes_ranked):
    ranking = template_ranking(scenes_ranked.run.store, uris(scenes_ranked), scenes_ranked.run.inputs.candidates)

    by_hand = {}
    for place, template in enumerate(scenes_ranked.run.inputs.candidates):
        rows = scenes_ranked.rows("prompts").values()
        by_hand[template] = oracle_sharpness([np.reshape(row["scores"], (3, -1))[place] for row in rows])
    assert [each.rank for each in ranking.ranked] == [1, 2, 3]
    assert {each.template: each.sharpness for each in ranking.ranked} == pytest.approx(by_hand)
    assert ranking.best == min(by_hand, key=by_hand.get)
    assert (ranking.photos_one_label, ranking.photos_several_labels) == (3, 6)
