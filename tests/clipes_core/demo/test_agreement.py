"""CAMs of the demo's CLIP on its scenes, compared with those of the plain oracle."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image
from support import oracle

from clipes.tasks.inputs.configs import load_config
from clipes.tasks.inputs.datasets.scenes import SCENE_SIZE
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.models.clip import load_clip
from clipes_core.backbones.vit import VitBackbone
from clipes_core.cams import photo_cams
from clipes_core.demo.scenes import CLASS_NAMES, scene_of_seed
from clipes_core.prompts import text_feature, vocabulary_texts
from clipes_core.text_features import TextFeatures


@pytest.fixture(scope="module")
def demo(configs):
    return load_config(str(configs / "demo.yaml"))


@pytest.fixture(scope="module")
def clip(demo):
    return load_clip(demo.clip)


@pytest.fixture(scope="module")
def texts(demo, clip):
    words = vocabulary_texts(load_vocabulary("scenes"), demo.prompts)
    features = [
        text_feature(clip.model, clip.tokenizer, text.phrases, demo.prompts.templates).numpy() for text in words
    ]
    class_ids = np.array([text.class_id for text in words])
    return TextFeatures(class_ids, np.stack(features), float(clip.model.logit_scale.exp()))


@pytest.mark.parametrize("index", range(9))
@pytest.mark.parametrize("softmax", [True, False])
def test_initial_and_refined_cams_equal_those_of_the_oracle(index, softmax, demo, clip, texts):
    scene = scene_of_seed((11, index), SCENE_SIZE)
    photo, config = Image.fromarray(scene.image_rgb), demo.cam.model_copy(update={"softmax": softmax})
    names = list(dict.fromkeys(one.name for one in scene.objects))
    class_ids = [CLASS_NAMES.index(name) + 1 for name in names]
    (actual,) = photo_cams(VitBackbone(clip.model.visual), texts, [photo], [class_ids], config)
    background = load_vocabulary("scenes").background_words
    expected = oracle.oracle_cams(
        clip.model,
        photo,
        [[name] for name in names],
        background,
        **config.model_dump(),
        templates=demo.prompts.templates,
    )
    assert_allclose(actual.scores, expected.scores, rtol=1e-4, atol=1e-6)
    assert_allclose(actual.cam, expected.cam, rtol=0, atol=2e-3)
    assert_allclose(actual.refined_cam, expected.refined, rtol=0, atol=2e-3)
    assert actual.refined_cam.max() > 0.9
