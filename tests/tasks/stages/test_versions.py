"""The results and the columns of each stage. They change only together with the version of the stage."""

from dataclasses import fields

import pytest
from support.stage_groups import (
    DRAWN,
    TRAINED_ON,
    WORDS,
)
from support.stage_numbers import (
    cams_numbers,
    candidate_texts_numbers,
    embeddings_numbers,
    mask_scores_numbers,
    masks_numbers,
    prompt_scores_numbers,
    prompts_numbers,
    segmenter_agreement_numbers,
    segmenter_numbers,
    segmenter_scores_numbers,
    texts_numbers,
    word_scores_numbers,
    word_texts_numbers,
)
from support.voc_scenes import NINE, SIZES

from clipes.tasks.plan.keys import digest
from clipes.tasks.plan.row_schema import IN_DIGEST
from clipes.tasks.stages.registry import STAGES, run_names

# The version of each stage, and its results on scenes in fp32. If you change results on purpose, raise the version
# in the file of the stage, so that no artifact with old results is reused, and update both, here and in
# `test_golden_numbers.py`.
NUMBERS = {
    "candidate_texts": (1, candidate_texts_numbers, [3, 45, 0.081735, 0.040718, 0.003056, 0.001661], 1e-5),
    "embeddings": (1, embeddings_numbers, [20.007231, 0.586227, 0.284586, 0.066938, 0.02753], 1e-4),
    "prompts": (1, prompts_numbers, [2.326432, 3.865407, 1.415088, 4.238917, 2.657432, 8.863812], 1e-3),
    "prompt_scores": (
        1,
        prompt_scores_numbers,
        [0.639732, 0.299665, 0.673996, 0.657199, 0.527511, 0.140904, 0.571763, 0.47673],
        5e-4,
    ),
    "texts": (1, texts_numbers, [45, 0.08221, 0.041089, 0.002895, 0.001448], 1e-5),
    "word_texts": (1, word_texts_numbers, [2, 1, 0.082451, 0.040056, 0.004852, 0.00111], 1e-5),
    "word_scores": (1, word_scores_numbers, [-0.134274, -0.048542, 0.43911, 1.693631], 1e-3),
    "cams": (
        1,
        cams_numbers,
        [0.023264, 0.038654, 0.103072, 0.050807, 0.38694, 0.189486, 0.279364, 0.147016, 0.399754, 0.202419],
        1e-4,
    ),
    "masks": (
        1,
        masks_numbers,
        [0.736886, 0.016629, 0.246484, 0.990581, 1.825167, 0.907937],
        2e-3,  # five pixels of the last class shift the mean id by this much
    ),
    "segmenter": (
        1,
        segmenter_numbers,
        [4.264147, 2.586156, 1.412224, 2.10443, 1.799401, 0.047686, 0.95682],
        1e-2,  # after forty steps, processors differ
    ),
    "segmenter_agreement": (1, segmenter_agreement_numbers, [0.372224, 0.310935], 2e-2),
    "segmenter_scores": (1, segmenter_scores_numbers, [0.529183, 0.047619, 0.001291], 1e-2),
    "mask_scores": (2, mask_scores_numbers, [0.528013, 0.140904, 0.571763, 0.47673, 0.569029, 0.660658], 5e-4),
}


def test_all_stages_but_those_of_annotations_have_numbers():  # see test_true_masks.py for these stages
    assert {*NUMBERS, *DRAWN} == {*STAGES}


@pytest.mark.parametrize("stage", NUMBERS)
def test_results_do_not_change_without_a_new_version(stage, scenes_trained, scenes_made, scenes_ranked, words_ranked):
    version, numbers, expected, tolerance = NUMBERS[stage]
    made = scenes_trained if stage in TRAINED_ON else scenes_made if stage in run_names() else scenes_ranked
    made = words_ranked if stage in WORDS else made
    width, height = SIZES[0]

    assert STAGES[stage].version == version
    assert numbers(made, NINE[0], (height, width)) == pytest.approx(expected, abs=tolerance)


def columns_digest(stage):
    added = {each.name for each in fields(stage.row) if not each.metadata[IN_DIGEST]}
    return digest([[field.name, str(field.type)] for field in stage.schema if field.name not in added])


def test_columns_do_not_change_without_a_new_version():
    """Columns outside the digests of rows may be added, because they are null in rows of earlier versions."""
    columns = {stage.name: (stage.version, columns_digest(stage)) for stage in STAGES.values()}
    assert columns == {
        "candidate_texts": (1, "2235eaf955f02ed8"),
        "embeddings": (1, "0857ee90d5e2e3f0"),
        "prompts": (1, "50b80c48531c1990"),
        "prompt_scores": (1, "66d62279a5d7e494"),
        "texts": (1, "2235eaf955f02ed8"),
        "word_texts": (1, "2235eaf955f02ed8"),
        "word_scores": (1, "c4f5c8c5a15fb0b3"),
        "cams": (1, "1639af8b59dc1e45"),
        "masks": (1, "9d77dec183d30bbe"),
        "mask_scores": (2, "0afec0fe9e26c36d"),
        "true_masks": (1, "5a38df4b150bd2ef"),
        "evaluation_true_masks": (1, "5a38df4b150bd2ef"),
        "segmenter": (1, "be284e52abe27072"),
        "segmenter_agreement": (1, "cfb463d39398d7c0"),
        "segmenter_scores": (1, "a0c552f6a5b0b560"),
    }
