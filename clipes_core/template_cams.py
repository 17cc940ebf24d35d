"""Compute the CAMs of photos once per template, so that the CAMs of different templates can be compared."""

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
from clipes_core.config.pseudo_masks import CamConfig
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
    """Compute the CAMs of a batch of photos with each of several templates.

    The encoding and the affinity of a photo are computed once per view. They are the same for all templates.

    Args:
        backbone: as for `clipes_core.cams.photo_cams`.
        text_sets: text features of the vocabulary, one entry per template.
        images: as for `photo_cams`.
        class_ids: as for `photo_cams`.
        config: as for `photo_cams`.

    Returns:
        One list per photo, with one entry per template: the CAMs that `photo_cams` returns for this template.

    Raises:
        ShapeError: as for `photo_cams`.
        PhotoError: as for `photo_cams`.

    Source: CLIP-ES sec. 3.2.
    """
    check_batch(images, class_ids)
    views, grid_hw = list_views(config), patch_grid((images[0].height, images[0].width), backbone.patch_size)
    of_views: list[list[list[PhotoCams]]] = [[[] for _ in text_sets] for _ in images]
    for view in views:
        photos = [view.show(image, backbone.patch_size) for image in images]
        encoded = encode_photos(backbone, photos, config)
        initial = [initial_cams(encoded, texts, class_ids, config.softmax) for texts in text_sets]
        for index, attention in enumerate(photo_attentions(encoded)):
            for of_template, cams in zip(of_views[index], initial, strict=True):
                of_template.append(refine_photo(cams[index], attention, photos[index], config))
    return [[average_views(cams, views, grid_hw) for cams in of_photo] for of_photo in of_views]
