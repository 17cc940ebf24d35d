import io

import numpy as np
import pytest
from PIL import Image

from clipes.tasks.inputs.photos import load_photos
from clipes.tasks.models.segmenter_file import load_segmenter, predict_ids
from clipes.tasks.stages.segmenter_agreement import SEGMENTER_AGREEMENT
from clipes.tasks.storage.layout import weights_uri
from clipes_core.config.run import parse_config
from clipes_core.config.segmenter import EvaluationConfig
from clipes_core.evaluation.photos_to_check import agreement


def test_a_row_compares_the_mask_with_the_prediction_of_the_trained_segmenter(scenes_trained):
    (trained,) = scenes_trained.of("segmenter")
    segmenter = load_segmenter(weights_uri(trained.uri), "cpu")
    masks, found = scenes_trained.rows("masks"), scenes_trained.rows("segmenter_agreement")
    photos = [photo for photos in scenes_trained.run.inputs.shards.values() for photo in photos]
    assert found.keys() == {photo.image_id for photo in photos}
    for photo, loaded in load_photos(photos, scenes_trained.run.config.dataset):
        mask = np.array(Image.open(io.BytesIO(masks[photo.image_id]["mask_png"])))
        predicted = predict_ids(segmenter, loaded, EvaluationConfig())
        expected = agreement(mask, predicted, photo.class_ids)
        assert found[photo.image_id]["agreement"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("train", "enabled"),
    [({}, False), ({"compare_masks": True}, True), ({"compare_masks": True, "enabled": False}, False)],
)
def test_the_stage_is_on_request(train, enabled):
    assert SEGMENTER_AGREEMENT.enabled(parse_config({"name": "a", "train": train})) is enabled
