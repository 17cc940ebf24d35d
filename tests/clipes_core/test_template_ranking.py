import numpy as np
import pytest
import torch
from support import oracle

from clipes_core.errors import PhotoError, ShapeError
from clipes_core.gradcam import score_gradients
from clipes_core.template_ranking import (
    CandidateFeatures,
    RankedTemplate,
    evenly_spaced_positions,
    rank_templates,
    sharpness,
    spearman,
)
from clipes_core.text_features import TextFeatures

IDS = np.array([1, 2, 2, 3, 0, 0])  # class 2 has two synonyms; 0 marks two background words
LOGIT_SCALE = 20.0


@pytest.fixture
def texts():
    features = np.random.default_rng(0).normal(size=(3, 6, 5)).astype(np.float32)
    return CandidateFeatures(IDS, features / np.linalg.norm(features, axis=-1, keepdims=True))


@pytest.fixture
def embedding():
    return np.random.default_rng(1).normal(size=5).astype(np.float32)


def softmax_by_hand(texts, template, embedding, places):
    unit = embedding / np.linalg.norm(embedding)
    raw = np.exp(LOGIT_SCALE * texts.features[template, places].astype(float) @ unit)
    return raw / raw.sum()


def test_scores_that_are_not_finite_are_refused():
    texts = CandidateFeatures(np.array([1, 0]), np.eye(2, 3, dtype=np.float32)[None])
    for embedding, scale in ((np.array([np.nan, 0, 0]), 1.0), (np.ones(3), np.inf)):
        with np.errstate(all="ignore"), pytest.raises(PhotoError, match=r"^a score contains NaN or infinity"):
            texts.scores(embedding, [1], scale)


def test_the_classes_of_a_photo_compete_with_the_background_words(texts, embedding):
    scores = texts.scores(embedding, [3, 1], LOGIT_SCALE)

    assert scores.shape == (3, 2)
    for template in range(3):
        by_hand = softmax_by_hand(texts, template, embedding, [3, 0, 4, 5])
        assert scores[template] == pytest.approx(by_hand[:2])


def test_scores_equal_those_of_the_cams(texts, embedding):
    own = TextFeatures(IDS, texts.features[1], LOGIT_SCALE)
    of_cams, _ = score_gradients(torch.from_numpy(embedding)[None], own, own.pairs([[1, 3]]))
    assert texts.scores(embedding, [1, 3], LOGIT_SCALE)[1] == pytest.approx(of_cams.numpy())


def test_scores_of_synonyms_are_averaged_and_single_texts_count_once(texts, embedding):
    scores = texts.scores(embedding, [2, 1], LOGIT_SCALE)[0]

    first = softmax_by_hand(texts, 0, embedding, [1, 0, 4, 5])
    second = softmax_by_hand(texts, 0, embedding, [2, 0, 4, 5])
    assert scores == pytest.approx([(first[0] + second[0]) / 2, first[1]])


def test_embeddings_and_classes_that_do_not_match_the_texts_are_refused(texts, embedding):
    with pytest.raises(ShapeError, match=r"embedding must be \(5,\) like a text feature, got \(4,\)"):
        texts.scores(embedding[:4], [1], LOGIT_SCALE)
    for classes in ([], [4]):
        with pytest.raises(ShapeError, match="that have texts"):
            texts.scores(embedding, classes, LOGIT_SCALE)


def test_templates_are_ranked_by_sharpness_and_then_alphabetically():
    ranked = rank_templates(["c {}", "b {}", "a {}", "d {}"], [0.2, 0.1, 0.2, 0.3])
    assert ranked == (
        RankedTemplate(1, "b {}", 0.1),
        RankedTemplate(2, "a {}", 0.2),
        RankedTemplate(3, "c {}", 0.2),
        RankedTemplate(4, "d {}", 0.3),
    )


@pytest.mark.parametrize(
    ("count", "sample", "places"),
    [
        (3, 20, (0, 1, 2)),
        (20, 20, tuple(range(20))),
        (9, 2, (0, 4, 8)),
        (9, 3, (0, 4, 8)),
        (10, 4, (0, 3, 4, 6, 9)),
    ],
)
def test_a_sample_is_spread_evenly_over_the_ranks(count, sample, places):
    assert evenly_spaced_positions(count, sample) == places


@pytest.mark.parametrize("count", range(21, 120))
def test_a_sample_includes_both_ends_and_the_middle_without_wide_gaps(count):
    places = evenly_spaced_positions(count, 20)
    assert len(places) in (20, 21)
    assert {0, (count - 1) // 2, count - 1} <= set(places)
    assert max(np.diff(places)) <= (count - 1) / 19 + 1


def test_spearman_equals_values_worked_out_by_hand():
    # ranks 1 2 3 4 and 2 1 4 3: 1 - 6 * 4 / (4 * 15)
    assert spearman([1, 2, 3, 4], [20, 10, 40, 30]) == pytest.approx(0.6)
    assert spearman([1, 2, 3], [0.3, 0.2, 0.1]) == pytest.approx(-1)
    # ranks 1 2.5 2.5 4 and 1 2 3 4: 4.5 / sqrt(4.5 * 5)
    assert spearman([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / np.sqrt(22.5))


def test_spearman_ignores_the_distance_between_values():
    values = np.random.default_rng(0).normal(size=20)
    assert spearman(values, np.exp(values)) == pytest.approx(1)


@pytest.mark.parametrize("sides", [([], []), ([1], [2]), ([1, 1], [1, 2]), ([1, 2], [3, 3])])
def test_spearman_of_equal_values_is_nan(sides):
    assert np.isnan(spearman(*sides))


def test_spearman_refuses_sequences_of_different_length():
    with pytest.raises(ShapeError, match="both sequences must have the same length, got 1 and 2"):
        spearman([1], [1, 2])


def test_sharpness_of_scores_agrees_with_the_oracle(texts, embedding):
    photos = [texts.scores(embedding * sign, ids, LOGIT_SCALE) for sign, ids in ((1, [1, 3]), (-1, [2, 1, 3]))]
    together = sharpness(photos)
    for template, value in enumerate(together):
        own = [photo[template] for photo in photos]
        assert value == pytest.approx(oracle.oracle_sharpness(own))


def sharpness_of_one(scores):
    """Return the sharpness of one template from (K,) scores per photo."""
    return float(sharpness(np.atleast_2d(photo) for photo in scores)[0])


def test_sharpness_is_the_summed_variance_over_the_summed_mean():
    # variances 0.01, 0.04 and means 0.2, 0.3; a single score has no variance
    scores = [np.array([0.1, 0.3]), np.array([0.1, 0.5])]
    assert sharpness_of_one(scores) == pytest.approx(0.05 / 0.5)
    assert sharpness_of_one([*scores, np.array([0.5])]) == pytest.approx(0.05 / 1.0)
    assert sharpness_of_one([np.array([0.4])]) == 0


def test_sharpness_weights_photos_equally_for_any_number_of_classes():
    # population variance of (0, 0, 0.3): 0.02, mean 0.1
    assert sharpness_of_one([np.array([0, 0, 0.3]), np.array([0.2, 0.2])]) == pytest.approx(0.02 / 0.3)


def test_sharpness_equals_that_of_the_oracle():
    generator = np.random.default_rng(0)
    scores = [generator.random(count, dtype=np.float32) for count in (1, 2, 5, 3)]
    assert sharpness_of_one(scores) == pytest.approx(oracle.oracle_sharpness([one.astype(float) for one in scores]))


def test_sharpness_skips_photos_without_classes():
    assert sharpness_of_one([np.array([]), np.array([0.1, 0.3])]) == pytest.approx(0.01 / 0.2)
    for none in ([], [np.array([])]):
        with pytest.raises(ValueError, match="sharpness needs at least one photo with a class, got none"):
            sharpness_of_one(none)


def test_sharpness_of_several_templates_equals_that_of_each_alone():
    photos = [np.array([[0.1, 0.3], [0.2, 0.2]]), np.zeros((2, 0)), np.array([[0.2], [0.4]])]
    assert sharpness(iter(photos)) == pytest.approx([0.01 / 0.4, 0])
    with pytest.raises(ValueError, match="got none"):
        sharpness([np.zeros((2, 0))])
