import numpy as np
import pytest
from support.cam_cases import (
    CLASS_IDS,
    assert_same,
    features_of,
)

from clipes_core.backbone import Backbone
from clipes_core.cams import photo_cams
from clipes_core.config.pseudo_masks import CamConfig, PromptsConfig
from clipes_core.errors import ShapeError
from clipes_core.template_cams import template_cams

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("cam", [{}, {"refine": "none"}, {"scales": [1.0, 0.5], "flip": True, "softmax": False}])
@pytest.mark.parametrize("fusion", ["sentence", "cam"])
def test_templates_share_one_encoding_and_equal_each_template_alone(model, photo, fusion, cam):
    backbone = CountingBackbone(model.visual)
    sets = [
        features_of(model, PromptsConfig(template=template, fusion=fusion)) for template in ("a {}.", "one weird {}.")
    ]
    photos, class_ids = [photo, photo.rotate(180)], [CLASS_IDS, [4]]

    together = template_cams(backbone, sets, photos, class_ids, CamConfig(**cam))

    assert backbone.encoded == len(CamConfig(**cam).scales) * (2 if cam.get("flip") else 1)
    for place, texts in enumerate(sets):
        alone = photo_cams(backbone, texts, photos, class_ids, CamConfig(**cam))
        for of_photo, expected in zip(together, alone, strict=True):
            assert_same(of_photo[place], expected, atol=1e-4)
    assert np.abs(together[0][0].cam - together[0][1].cam).max() > 1e-3


class CountingBackbone(Backbone):
    """A backbone that counts the batches it encodes."""

    encoded = 0

    def encode(self, pixels, attention_blocks=0):
        self.encoded += 1
        return super().encode(pixels, attention_blocks)


def test_refuses_photos_of_several_sizes(model, photo):
    texts = features_of(model, PromptsConfig())
    with pytest.raises(ShapeError, match="must have the same size, and there must be one list of class ids per image"):
        template_cams(Backbone(model.visual), [texts], [photo, photo.resize((20, 30))], [[1], [1]], CamConfig())
