"""Compute the initial and refined CAMs of photos, in the steps of figure 2 of CLIP-ES.

The steps are: encode the photo, compute the scores and their gradients, compute the initial CAMs with Softmax-GradCAM,
and refine the CAMs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from clipes_core.affinity import Attention
from clipes_core.backbone import Backbone, Encoded
from clipes_core.config.pseudo_masks import CamConfig
from clipes_core.errors import ShapeError
from clipes_core.finite import OF_CLIP, check_finite
from clipes_core.gradcam import gradcam, score_gradients
from clipes_core.preprocessing import patch_grid
from clipes_core.refinements import REFINEMENTS
from clipes_core.text_features import TextFeatures
from clipes_core.views import View, average, average_maps, list_views


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


@dataclass(frozen=True)
class InitialCams:
    """The unrefined CAMs of one photo in one view (see `clipes_core.views`).

    The tensors are on the network's device, or on the CPU if that device is mps.

    Attributes:
        scores: (K,) float64 softmax scores of the photo's K classes; logits if `cam.softmax` is false.
        cams: (K, h, w) float32 in [0, 1].
    """

    scores: torch.Tensor
    cams: torch.Tensor


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
        class_ids: B lists, one per photo, each with the ids of the photo's K >= 1 classes.
        config: section `cam` of the configuration.

    Returns:
        For each photo, the scores and the CAMs, averaged over the scales and the mirrored photo. A CAM has one value
        per patch of the photo at scale 1. With CAM fusion (`prompts.fusion` is `cam`), the CAM and the score of a class
        are also averaged over the synonyms of the class.

    Raises:
        ShapeError: there is no photo, the photos differ in size, `class_ids` does not have one list per photo, a photo
            has no classes, or `texts` has no text for a class.
        PhotoError: NOT_FINITE if the results of a photo contain NaN or infinity.

    Source: CLIP-ES sec. 3.1-3.3. Differs from the reference: CAMs of several scales are averaged on the patch grid of
    scale 1, not at the photo's size.
    """
    check_batch(images, class_ids)
    views, grid_hw = list_views(config), patch_grid((images[0].height, images[0].width), backbone.patch_size)

    def view_cams(view: View) -> list[PhotoCams]:
        """Compute the CAMs of one view, for all photos in the batch."""
        photos = [view.show(image, backbone.patch_size) for image in images]
        encoded = encode_photos(backbone, photos, config)
        initial = initial_cams(encoded, texts, class_ids, config.softmax)
        per_photo = zip(initial, photo_attentions(encoded), photos, strict=True)
        return [refine_photo(cams, attention, photo, config) for cams, attention, photo in per_photo]

    per_view = [view_cams(view) for view in views]
    return [average_views(of_photo, views, grid_hw) for of_photo in zip(*per_view, strict=True)]


def check_batch(images: Sequence[Image.Image], class_ids: Sequence[Sequence[int]]) -> None:
    """Check that photos can form one batch.

    Raises:
        ShapeError: there is no photo, the photos differ in size, or `class_ids` does not have one list per photo.
    """
    sizes = {image.size for image in images}
    if len(sizes) != 1 or len(images) != len(class_ids):
        raise ShapeError(
            "the images of a batch must have the same size, and there must be one list of class ids per image: got "
            f"{len(images)} images of sizes {sorted(sizes)} and {len(class_ids)} lists of class ids"
        )


def encode_photos(backbone: Backbone, photos: Sequence[Image.Image], config: CamConfig) -> Encoded:
    """Encode a batch of photos. The result includes the attention only if the refinement needs it.

    Args:
        backbone: CLIP's image network.
        photos: B RGB photos of the same size.
        config: section `cam`. The function reads refine and attention_blocks.

    Returns:
        Features and embeddings of the B photos, and their attention or None.
    """
    attention_blocks = config.attention_blocks if REFINEMENTS[config.refine].needs_attention else 0
    return backbone.encode(torch.stack([backbone.pixels(photo) for photo in photos]), attention_blocks)


def initial_cams(
    encoded: Encoded, texts: TextFeatures, class_ids: Sequence[Sequence[int]], softmax: bool
) -> list[InitialCams]:
    """Compute the initial CAMs of a batch of photos with Softmax-GradCAM.

    Args:
        encoded: the network's output for B photos.
        texts: text features of the vocabulary.
        class_ids: B lists, one per photo, each with the ids of the photo's K >= 1 classes.
        softmax: as in `clipes_core.gradcam.class_scores`.

    Returns:
        For each photo, the score and the CAM of each class, both averaged over the texts of the class.

    Raises:
        ShapeError: a photo has no classes, or `texts` has no text for a class.

    Source: CLIP-ES sec. 3.1, eq. (1) to (4).
    """
    embeddings = _on_float64_device(encoded.embedding.detach())
    scores, gradients = zip(
        *(
            _score_class_texts(embedding, texts, ids, softmax)
            for embedding, ids in zip(embeddings, class_ids, strict=True)
        ),
        strict=True,
    )
    maps = _on_float64_device(gradcam(encoded, _padded(gradients)))
    counts = [texts.text_counts(ids) for ids in class_ids]
    return [
        InitialCams(_class_means(of_texts, own), _class_means(text_maps[: len(of_texts)], own))
        for of_texts, text_maps, own in zip(scores, maps, counts, strict=True)
    ]


def _score_class_texts(
    embedding: torch.Tensor, texts: TextFeatures, class_ids: Sequence[int], softmax: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Score the S texts that belong to the classes of one photo.

    With CAM fusion, a class can have several texts. The function then computes several softmaxes, called passes. Each
    pass is over one text per class and all background words. Each pass uses the next text of a class. After the last
    text of a class, the next pass uses the first text again. The result for a class with n texts has the scores and
    gradients of the first n passes.

    Returns:
        (S,) scores, and (S, D) gradients of the scores with respect to the embedding. Both are ordered class by class.
    """
    counts = texts.text_counts(class_ids)
    per_pass = [
        score_gradients(embedding, torch.from_numpy(each).to(embedding.device), texts.logit_scale, len(counts), softmax)
        for each in texts.passes(class_ids)
    ]
    scores, gradients = (torch.stack(parts, dim=1) for parts in zip(*per_pass, strict=True))
    own = [(place, slice(count)) for place, count in enumerate(counts)]
    return torch.cat([scores[each] for each in own]), torch.cat([gradients[each] for each in own])


def _padded(gradients: Sequence[torch.Tensor]) -> torch.Tensor:
    """Stack the (S, D) gradients of several photos. S is the number of texts, which differs between photos.

    The function adds rows of zeros until each photo has the same number of rows. The CAM of such a row is all zero.
    """
    slots = max(map(len, gradients))
    return torch.stack([F.pad(each, (0, 0, 0, slots - len(each))) for each in gradients])


def _class_means(of_texts: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """Average the (S, ...) values over the texts of each class. The S texts are ordered class by class."""
    return torch.stack([own.mean(dim=0) for own in of_texts.split(counts)])


def photo_attentions(encoded: Encoded) -> Iterator[Attention | None]:
    """Yield the attention of each photo, or None for each photo if no attention was computed.

    Each `Attention` object caches a large matrix. To save memory, drop each object before you request the next object.
    """
    if encoded.attn_weights is None:
        yield from [None] * len(encoded.embedding)
    else:
        yield from (Attention(_on_float64_device(weights)) for weights in encoded.attn_weights)


def refine_photo(initial: InitialCams, attention: Attention | None, photo: Image.Image, config: CamConfig) -> PhotoCams:
    """Refine the CAMs of one photo with the refinement method in `cam.refine`.

    Args:
        initial: initial CAMs of the photo's K classes.
        attention: the photo's attention; None if the refinement does not need it.
        photo: RGB photo as the network saw it: resized, and mirrored if the view is mirrored.
        config: section `cam`, with the name and the settings of the refinement.

    Returns:
        The scores, the initial CAMs and the refined CAMs.

    Raises:
        PhotoError: NOT_FINITE if a score or a CAM contains NaN or infinity.
    """
    refine = REFINEMENTS[config.refine].load()
    refined = refine(initial.cams, attention, np.asarray(photo), config)
    for what, values in {"score": initial.scores, "initial CAM": initial.cams, "refined CAM": refined}.items():
        check_finite(values, f"a {what}", OF_CLIP)
    return PhotoCams(initial.scores.float().cpu().numpy(), initial.cams.cpu().numpy(), refined.cpu().numpy())


def average_views(cams: Sequence[PhotoCams], views: Sequence[View], grid_hw: tuple[int, int]) -> PhotoCams:
    """Average the scores and CAMs of one photo over its views.

    Args:
        cams: scores and CAMs of the photo, one entry per view.
        views: the views, at least one.
        grid_hw: height and width of the result [patches].
    """
    return PhotoCams(
        scores=average([each.scores for each in cams]),
        cam=average_maps([each.cam for each in cams], views, grid_hw),
        refined_cam=average_maps([each.refined_cam for each in cams], views, grid_hw),
    )


def _on_float64_device(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor on a device that supports float64. A tensor on mps is copied to the CPU."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor
