import numpy as np
import pytest
from support.prepared import prepare_run, prepare_word_ranking
from support.small_runs import make_run

WORDS = ("seabird", "harbour wall")


def features(made, stage):
    tables = [made.run.store.read(record.uri, ["feature"]).to_pydict() for record in made.of(stage)]
    return np.array([feature for table in tables for feature in table["feature"]])


def test_logits_are_scaled_cosines(words_ranked):
    embeddings = words_ranked.rows("embeddings")
    for image_id, row in words_ranked.rows("word_scores").items():
        unit = np.array(embeddings[image_id]["embedding"]) / np.linalg.norm(embeddings[image_id]["embedding"])
        scale = embeddings[image_id]["logit_scale"]
        np.testing.assert_allclose(row["word_logits"], scale * features(words_ranked, "word_texts") @ unit, rtol=1e-4)
        np.testing.assert_allclose(row["text_logits"], scale * features(words_ranked, "texts") @ unit, rtol=1e-4)
        assert row["class_ids"] == embeddings[image_id]["class_ids"]


@pytest.mark.parametrize("fusion", ["sentence", "cam"])
def test_shares_of_classes_equal_the_scores_of_the_cams(tiny, pool, fusion):
    tiny.add("a", "bird;dog")
    config = tiny.config(prompts={"fusion": fusion, "background": False})
    made = make_run(prepare_word_ranking(config, WORDS), pool)
    cams = make_run(prepare_run(config, "cams"), pool)
    assert [record.cached for record in cams.of("texts")] == [True]  # a run reuses the texts of the ranking
    assert len(made.rows("word_scores")["a"]["text_logits"]) == {"sentence": 20, "cam": 25}[fusion]
    if fusion == "sentence":
        logits = np.array(made.rows("word_scores")["a"]["text_logits"])[[2, 11]]
        scores = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(scores, cams.rows("cams")["a"]["scores"], atol=1e-5)


def test_further_words_reuse_the_photos_and_the_known_words(tiny, pool):
    tiny.add("a", "bird")
    make_run(prepare_word_ranking(tiny.config(), WORDS), pool)
    more = make_run(prepare_word_ranking(tiny.config(), ("tern", *WORDS)), pool)
    assert [record.cached for record in more.of("word_texts")] == [False, True, True]
    assert [record.cached for record in (*more.of("texts"), *more.of("embeddings"))] == [True, True]
    assert more.counts()["word_scores"] == (1, 0, 1)
    again = make_run(prepare_word_ranking(tiny.config(), ("tern", *WORDS)), pool)
    assert all(record.cached for record in again.records.values())


def test_a_damaged_photo_is_a_row_with_its_reason(tiny, pool):
    tiny.add("a", "bird")
    tiny.add("b", "dog").write_bytes(b"no photo")
    rows = make_run(prepare_word_ranking(tiny.config(), WORDS), pool).rows("word_scores")
    assert rows["a"]["status"] == "ok"
    assert (rows["b"]["status"], rows["b"]["word_logits"]) == ("error", [])
    assert rows["b"]["error"].startswith("no embedding: ")
