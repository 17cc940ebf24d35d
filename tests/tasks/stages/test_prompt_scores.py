import numpy as np
import pytest
from PIL import Image
from support.prepared import prepare_ranking, prepare_run
from support.small_runs import make_run

from clipes.tasks.runs.pooled_scores import pooled_scores, pooled_template_scores
from clipes_core.errors import DatasetError

CANDIDATES = ("a {}.", "the {}.")


@pytest.fixture
def scored(tiny, pool):
    """Return a function that scores the CAMs of candidates on the added photos, starting with the last candidate."""

    def scored(photos=9, candidates=CANDIDATES, **sections):
        run = prepare_ranking(tiny.config(**sections), candidates, photos)
        return make_run(run.with_inputs(run.inputs.with_sampled(candidates[::-1])), pool)

    return scored


@pytest.fixture
def truth(tiny):
    """Write a true mask with a cat and an ignored corner, and return its file name."""
    ids = np.zeros((48, 64), np.uint8)
    ids[10:30, 20:50], ids[:5, :5] = 8, 255
    Image.fromarray(ids).save(tiny.folder / "truth.png")
    return "truth.png"


def pooled(made, templates=2):
    uris = [record.uri for record in made.of("prompt_scores")]
    return pooled_template_scores(made.run.store, uris, templates, 1 + len(made.run.inputs.vocabulary.classes))


def test_scores_equal_those_of_a_run_with_the_template(scenes_ranked, scenes_made):
    scores, photos = pooled(scenes_ranked)
    uris = [record.uri for record in scenes_made.of("mask_scores")]
    expected = pooled_scores(scenes_made.run.store, uris, 21, 1)

    assert scenes_ranked.run.inputs.sampled == ("the {}.", "a clean origami {}.")
    assert photos == 9
    for own, power, kind in (
        (scores[1].initial_miou, scores[1].initial_power, "initial_cam"),
        (scores[1].refined_miou, scores[1].refined_power, "refined_cam"),
    ):
        assert own == pytest.approx(expected[kind].scores.miou, abs=1e-3)  # that run stores CAMs in half precision
        assert power == expected[kind].background_power
    assert scores[0] != scores[1]


def test_every_pixel_counts_once_per_template_and_power(tiny, scored, truth):
    tiny.add("a", "cat", truth=truth)
    row = scored().rows("prompt_scores")["a"]
    counts = {}
    for template, kind, power, pixels in zip(
        *(row[name] for name in ("template", "scored", "background_power", "pixels")), strict=True
    ):
        counts[template, kind, power] = counts.get((template, kind, power), 0) + pixels
    assert len(counts) == 2 * 12
    assert set(counts.values()) == {48 * 64 - 25}


@pytest.mark.parametrize("cam", [{"refine": "none"}, {"scales": [1.0, 0.5], "flip": True}])
def test_settings_of_the_cams_change_the_scores(tiny, scored, truth, pool, cam):
    tiny.add("a", "cat;dog", truth=truth)
    scores, _ = pooled(scored(cam=cam))
    run = make_run(prepare_run(tiny.config(cam=cam, prompts={"template": "a {}."}), "mask_scores"), pool)
    expected = pooled_scores(run.run.store, [record.uri for record in run.of("mask_scores")], 21, 1)
    assert scores[1].initial_miou == pytest.approx(expected["initial_cam"].scores.miou, abs=2e-3)
    assert scores[1].refined_miou == pytest.approx(expected["refined_cam"].scores.miou, abs=2e-3)


def test_the_sample_contains_only_photos_with_truth_and_labels(tiny, scored, truth):
    for name in "abcdef":
        tiny.add(name, "cat", truth=truth if name in "abcd" else "")
    tiny.add("g", "", truth=truth)
    two = scored(photos=2).rows("prompt_scores").keys()
    assert len(two) == 2
    assert two < set("abcd")
    three = scored(photos=3, execution={"shards": 2}).rows("prompt_scores").keys()
    assert two < three
    assert scored(photos=99).rows("prompt_scores").keys() == set("abcd")


def test_scores_are_computed_once_per_set_of_templates(tiny, scored, truth):
    for name in "ab":
        tiny.add(name, "cat", truth=truth)
    assert scored().counts()["prompt_scores"] == (2, 0, 2)
    assert scored().counts()["prompt_scores"] == (2, 0, 0)
    assert scored(photos=1).counts()["prompt_scores"] == (1, 1, 0)
    other = scored(candidates=("a {}.", "one {}.")).counts()
    assert other["prompt_scores"] == (2, 0, 2)
    assert other["embeddings"] == (2, 0, 0)


def test_photos_that_cannot_be_scored_are_rows_with_an_error(tiny, scored, truth):
    for name in "abc":
        tiny.add(name, "cat", truth=truth)
    Image.new("L", (10, 10)).save(tiny.folder / "small.png")
    tiny.label("b", "cat", "small.png")
    (tiny.folder / "c.png").write_bytes(b"no picture")
    made = scored()
    rows = made.rows("prompt_scores")
    assert {name: row["error_kind"] for name, row in rows.items()} == {"a": None, "b": "bad_truth", "c": "undecodable"}
    assert rows["b"]["error"] == "the true mask is 10x10 and the photo is 64x48: they must have the same size"
    assert pooled(made)[1] == 1


def test_scores_without_any_truth_are_refused(tiny):
    tiny.add("a", "cat")
    with pytest.raises(DatasetError, match="--with-miou: no photo with labels has a true mask"):
        prepare_ranking(tiny.config(), CANDIDATES, 9)
