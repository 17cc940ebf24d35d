"""CAMs of photos for several templates. All templates share the encoding and the affinity of a photo."""

from collections.abc import Sequence

from PIL import Image

from clipes_core.backbone import Backbone
from clipes_core.cams import (
    PhotoCams,
    average_views,
    check_batch,
    encode_photos,
    initial_cams,
    photo_attentions,
    refine_photo,
)
from clipes_core.config.run import CamConfig
from clipes_core.preprocessing import patch_grid
from clipes_core.text_features import TextFeatures
from clipes_core.views import list_views


def template_cams(
    backbone: Backbone,
    text_sets: Sequence[TextFeatures],
    images: Sequence[Image.Image],
    class_ids: Sequence[Sequence[int]],
    config: CamConfig,
) -> list[list[PhotoCams]]:
    """Make the CAMs of a batch of photos for several templates.

    Args:
        backbone: CLIP's image network.
        text_sets: text features of the vocabulary, one entry per template.
        images: B RGB photos of the same size.
        class_ids: B lists, each with the K >= 1 data set ids of a photo.
        config: settings of softmax, refinement, scales and mirroring.

    Returns:
        Per photo a list of CAMs, one per template: those that `photo_cams` makes with that template's texts alone.

    Raises:
        ShapeError: as for `photo_cams`.

    Source: CLIP-ES sec. 3.2. The encoding can be shared because an image's embedding does not depend on the template.
    """
    check_batch(images, class_ids)
    views, grid_hw = list_views(config), patch_grid((images[0].height, images[0].width), backbone.patch_size)
    per_view = []
    for view in views:
        photos = [view.show(image, backbone.patch_size) for image in images]
        per_view.append(_view_cams(backbone, text_sets, photos, class_ids, config))
    return [
        [average_views(of_template, views, grid_hw) for of_template in zip(*of_photo, strict=True)]
        for of_photo in zip(*per_view, strict=True)
    ]


def _view_cams(
    backbone: Backbone,
    text_sets: Sequence[TextFeatures],
    photos: Sequence[Image.Image],
    class_ids: Sequence[Sequence[int]],
    config: CamConfig,
) -> list[list[PhotoCams]]:
    """Make the CAMs of one view, per photo and template."""
    encoded = encode_photos(backbone, photos, config)
    per_template = [initial_cams(encoded, texts, class_ids, config.softmax) for texts in text_sets]
    return [
        [refine_photo(cams, attention, photo, config) for cams in of_photo]
        for *of_photo, attention, photo in zip(*per_template, photo_attentions(encoded), photos, strict=True)
    ]
