"""CAMs of one photo, which clipes and the oracle compute from the same texts."""

import numpy as np
from numpy.testing import assert_allclose
from support import oracle

from clipes.tasks.models.clip_models.tokenizers import ClipTokenizer
from clipes_core.backbones.kinds import open_backbone
from clipes_core.cams import photo_cams
from clipes_core.config.pseudo_masks import CamConfig
from clipes_core.prompts import text_feature, vocabulary_texts
from clipes_core.text_features import TextFeatures
from clipes_core.vocabulary import Vocabulary

VOCABULARY = Vocabulary.model_validate(
    {
        "classes": [
            {"name": "bird", "words": "bird avian", "synonyms": ["bird", "avian"]},
            {"name": "dog"},
            {"name": "person", "words": "person with clothes,people", "synonyms": ["person", "people", "human"]},
            {"name": "cat"},
        ],
        "background_words": ["sky", "sea", "grass"],
    }
)
CLASS_IDS = [3, 1, 2]  # with three, two and one synonyms


def features_of(model, prompts, vocabulary=VOCABULARY):
    texts = vocabulary_texts(vocabulary, prompts)
    tokenizer = ClipTokenizer(model.context_length)
    features = [text_feature(model, tokenizer, text.phrases, prompts.templates).numpy() for text in texts]
    return TextFeatures(
        np.array([text.class_id for text in texts]), np.stack(features), float(model.logit_scale.detach().exp())
    )


def cams_of(backbone, texts, photo, class_ids, **cam):
    (cams,) = photo_cams(backbone, texts, [photo], [class_ids], CamConfig(**cam))
    return cams


def assert_same(actual, expected, atol):
    assert_allclose(actual.scores, expected.scores, rtol=0, atol=atol)
    assert_allclose(actual.cam, expected.cam, rtol=0, atol=atol)
    assert_allclose(actual.refined_cam, expected.refined_cam, rtol=0, atol=atol)


def oracle_words(class_ids, fusion):
    entries = [VOCABULARY.classes[class_id - 1] for class_id in class_ids]
    return [[entry.sentence_words] if fusion == "sentence" else list(entry.separate_words) for entry in entries]


def assert_like_the_oracle(model, photo, prompts, pooling="patch_mean", class_ids=CLASS_IDS, **cam):
    """Compare scores and initial CAMs with the oracle's, and each refined CAM with the oracle's refinement of that CAM.

    The oracle does not refine its own CAM. If a cell is close to the box threshold, a difference of 1e-6 between the
    initial CAMs could change the box, and cause a difference of 1e-2 between the refined CAMs.
    """
    actual = cams_of(
        open_backbone(model.visual, pooling, "cpu", "fp32"), features_of(model, prompts), photo, class_ids, **cam
    )
    switches = {"templates": prompts.templates, "fusion": prompts.fusion, "pooling": pooling, **cam}
    background = VOCABULARY.background_words if prompts.background else ()
    words = oracle_words(class_ids, prompts.fusion)
    expected = oracle.oracle_cams(model, photo, words, background, **{**switches, "refine": "none"})
    assert_allclose(actual.scores, expected.scores, rtol=1e-4)
    assert_allclose(actual.cam, expected.cam, rtol=0, atol=1e-4)
    pixels = oracle.view_pixels(photo, 1.0, oracle.patch_size(model), mirrored=False)
    attentions = oracle.visual_pass(model, pixels, pooling).attentions
    chosen = oracle.CamSwitches(**switches)
    refined = [oracle.refined_cam(one.astype(np.float64), attentions, chosen) for one in actual.cam]
    assert_allclose(actual.refined_cam, refined, rtol=0, atol=5e-5)
