"""Compute the initial and refined CAMs of photos, in the steps of figure 2 of CLIP-ES.

The steps are: encode the photo, compute the scores and their gradients, compute the initial CAMs with Softmax-GradCAM,
and refine the CAMs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from clipes_core.affinity import Attention
from clipes_core.backbones.backbone import Backbone, Encoded
from clipes_core.config.pseudo_masks import CamConfig
from clipes_core.device import Job, download, finish, with_float64
from clipes_core.errors import ShapeError
from clipes_core.finite import OF_CLIP, check_finite
from clipes_core.flattened import means
from clipes_core.gradcam import gradcam, score_gradients
from clipes_core.preprocessing import patch_grid
from clipes_core.refinements import REFINEMENTS
from clipes_core.text_features import TextFeatures, TextPairs, text_counts
from clipes_core.views import PhotoViews, View, Viewer, average, average_maps, list_views


@dataclass(frozen=True)
class PhotoCams:
    """The CAMs of one photo.

    Attributes:
        scores: (K,) float32 softmax scores of the photo's K classes; logits if `cam.softmax` is false.
        cam: (K, h, w) float32 in [0, 1], initial CAMs.
        refined_cam: (K, h, w) float32 in [0, 1], refined CAMs.
    """

    scores: np.ndarray
    cam: np.ndarray
    refined_cam: np.ndarray


def photo_cams(
    backbone: Backbone,
    texts: TextFeatures,
    images: Sequence[Image.Image],
    class_ids: Sequence[Sequence[int]],
    config: CamConfig,
) -> list[PhotoCams]:
    """Compute the CAMs of a batch of photos that have the same size.

    Args:
        backbone: CLIP's image network.
        texts: text features of the vocabulary.
        images: B >= 1 RGB photos of the same size.
        class_ids: as for `cams_of_batch`.
        config: as for `cams_of_batch`.

    Returns:
        The CAMs of each photo, as described at `cams_of_batch`.

    Raises:
        ShapeError, PhotoError: as for `cams_of_batch`.
    """
    viewer = Viewer(list_views(config), backbone.patch_size)
    photos = [viewer.show(image) for image in images]
    return [cams for (cams,) in finish(cams_of_batch(backbone, [texts], photos, class_ids, config))]


@torch.no_grad()
def cams_of_batch(
    backbone: Backbone,
    text_sets: Sequence[TextFeatures],
    photos: Sequence[PhotoViews],
    class_ids: Sequence[Sequence[int]],
    config: CamConfig,
) -> Job[list[list[PhotoCams]]]:
    """Compute the CAMs of a batch of photos that have the same size, with the texts of one or more templates.

    The encoding and the affinity are computed once per view. They are the same for all templates.

    For each view, the function queues the encoding and the initial CAMs, waits for these CAMs, and queues the
    refinement, whose boxes the host computes. While it waits, attention takes 4 n^2 bytes per photo of n patches.

    Args:
        backbone: CLIP's image network.
        text_sets: text features of the vocabulary, one entry per template.
        photos: the views of B >= 1 photos of the same size, as `list_views(config)` lists them.
        class_ids: B lists, one per photo, each with the ids of the photo's K >= 1 different classes.
        config: section `cam` of the configuration.

    Yields:
        None, whenever the function needs a result of the device, so that the caller can queue other work.

    Returns:
        For each photo and each entry of `text_sets`, the scores and the CAMs, averaged over the scales and the mirrored
        photo. A CAM has one value per patch of the photo at scale 1. With CAM fusion (`prompts.fusion` is `cam`), the
        CAM and the score of a class are also averaged over the synonyms of the class.

    Raises:
        ShapeError: there is no photo, the photos differ in size, `class_ids` does not have one list per photo, a photo
            has no classes, or a class has no text.
        PhotoError: NOT_FINITE if the results of a photo contain NaN or infinity.

    Source: CLIP-ES sec. 3.1-3.3. Differs from the reference: CAMs of several scales are averaged on the patch grid of
    scale 1, not at the photo's size.
    """
    check_batch(photos, class_ids)
    # photos with equally many classes and texts become neighbours, so that they are processed together
    texts_of = [text_counts(text_sets[0].class_ids, ids) for ids in class_ids]
    order = sorted(range(len(photos)), key=lambda photo: (len(texts_of[photo]), sum(texts_of[photo])))
    pair_sets = [texts.pairs([class_ids[photo] for photo in order]) for texts in text_sets]
    counts = [len(class_ids[photo]) for photo in order]
    of_views = []
    for shown in zip(*(photos[photo].views for photo in order), strict=True):
        of_views.append((yield from _cams_of_view(backbone, text_sets, pair_sets, shown, counts, config)))
    yield
    grid_hw = patch_grid(photos[0].size_hw, backbone.patch_size)
    of_sets = [_average_views(of_set, list_views(config), grid_hw) for of_set in zip(*of_views, strict=True)]
    of_photos = dict(zip(order, zip(*(_split(cams, counts) for cams in of_sets), strict=True), strict=True))
    return [list(of_photos[photo]) for photo in range(len(photos))]


def check_batch(photos: Sequence[PhotoViews], class_ids: Sequence[Sequence[int]]) -> None:
    """Check that photos can form one batch.

    Raises:
        ShapeError: there is no photo, the photos differ in size, or `class_ids` does not have one list per photo.
    """
    sizes = {photo.size_hw[::-1] for photo in photos}
    if len(sizes) != 1 or len(photos) != len(class_ids):
        raise ShapeError(
            "the images of a batch must have the same size, and there must be one list of class ids per image: got "
            f"{len(photos)} images of sizes {sorted(sizes)} and {len(class_ids)} lists of class ids"
        )


@dataclass(frozen=True)
class _ViewCams:
    """The CAMs of a batch in one view: (Q,) scores, (Q, h, w) initial CAMs, and a function that waits for the refined.

    The Q classes of all photos are ordered photo by photo.
    """

    scores: np.ndarray
    cams: np.ndarray
    get_refined: Callable[[], tuple[np.ndarray, ...]]


def _cams_of_view(
    backbone: Backbone,
    text_sets: Sequence[TextFeatures],
    pair_sets: Sequence[TextPairs],
    photos_rgb: Sequence[np.ndarray],
    counts: Sequence[int],
    config: CamConfig,
) -> Job[list[_ViewCams]]:
    """Compute the CAMs of a batch in one view with each set of texts, and queue the refinement of the CAMs."""
    refinement = REFINEMENTS[config.refine]
    encoded = backbone.encode(np.stack(photos_rgb), config.attention_blocks if refinement.needs_attention else 0)
    weights = encoded.attn_weights
    initial = [
        download(*initial_cams(encoded, texts, pairs, config.softmax))
        for texts, pairs in zip(text_sets, pair_sets, strict=True)
    ]
    del encoded  # which keeps many tensors of the last block
    yield
    attention = None if weights is None else Attention(with_float64(weights), counts)
    photo_of_cam = [photo for photo, count in zip(photos_rgb, counts, strict=True) for _ in range(count)]
    found = []
    for get_initial in initial:
        scores, cams = get_initial()
        check_finite(scores, "a score", OF_CLIP)
        check_finite(cams, "an initial CAM", OF_CLIP)
        found.append(_ViewCams(scores, cams, download(refinement.load()(cams, attention, photo_of_cam, config))))
    return found


def initial_cams(
    encoded: Encoded, texts: TextFeatures, pairs: TextPairs, softmax: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the initial CAMs of a batch of photos with Softmax-GradCAM.

    Args:
        encoded: the network's output for B photos.
        texts: text features of the vocabulary.
        pairs: the pairs of a photo and a text of one of its classes.
        softmax: as in `clipes_core.gradcam.score_gradients`.

    Returns:
        (Q,) float32 scores and (Q, h, w) float32 CAMs in [0, 1] of the classes of all photos, photo by photo. Both are
        averaged over the texts of the class.

    Source: CLIP-ES sec. 3.1, eq. (1) to (4).
    """
    scores, gradients = score_gradients(with_float64(encoded.embedding), texts, pairs, softmax)
    maps = with_float64(gradcam(encoded, gradients, pairs.per_photo))
    return means(scores, pairs.per_class).float(), means(maps, pairs.per_class)


def _average_views(of_views: Sequence[_ViewCams], views: Sequence[View], grid_hw: tuple[int, int]) -> PhotoCams:
    """Average the scores and CAMs of a batch over its views, on a grid of the given height and width [patches]."""
    refined = [each for of_view in of_views for each in of_view.get_refined()]
    for maps in refined:
        check_finite(maps, "a refined CAM", OF_CLIP)
    return PhotoCams(
        scores=average([of_view.scores for of_view in of_views]),
        cam=average_maps([of_view.cams for of_view in of_views], views, grid_hw),
        refined_cam=average_maps(refined, views, grid_hw),
    )


def _split(cams: PhotoCams, counts: Sequence[int]) -> list[PhotoCams]:
    """Return the CAMs of each photo, from those of all photos, for the number of classes of each photo."""
    ends = np.cumsum(counts)[:-1]
    parts = (np.split(values, ends) for values in (cams.scores, cams.cam, cams.refined_cam))
    return [PhotoCams(*of_photo) for of_photo in zip(*parts, strict=True)]
