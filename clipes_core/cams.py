"""Initial and refined CAMs of photos: Softmax-GradCAM, then affinity, over scales and mirrors."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pkgutil import resolve_name

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from clipes_core.affinity import Attention
from clipes_core.backbone import Backbone, Encoded
from clipes_core.config.run import CamConfig
from clipes_core.errors import ShapeError
from clipes_core.gradcam import gradcam, score_gradients
from clipes_core.photo import patch_grid, resize_to_patches
from clipes_core.refinements import REFINEMENTS
from clipes_core.text_features import TextFeatures


@dataclass(frozen=True)
class PhotoCams:
    """The CAMs of one photo.

    Attributes:
        scores: (K,) float32 softmax scores (or logits) of the present classes.
        cam: (K, h, w) float32 in [0, 1], initial CAMs.
        refined_cam: (K, h, w) float32 in [0, 1].
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
    """Make the CAMs of a batch of photos of one size.

    Args:
        backbone: CLIP's image network.
        texts: text features of the vocabulary.
        images: B RGB photos of one size.
        class_ids: per photo its K >= 1 data set ids.
        config: softmax, refinement, scales and mirrors.

    Returns:
        Per photo the CAMs on the grid of scale 1, mean over scales and mirrors. The CAM and score
        of a class are the means over its texts: one CAM per synonym in CAM fusion.

    Raises:
        ShapeError: photos of several sizes, or not one list of class ids each, or a photo without classes.

    Source: CLIP-ES sec. 3.1-3.3. Differs from the reference: several scales are averaged on
    the grid of scale 1, not at the photo's size.
    """
    return [cams for (cams,) in template_cams(backbone, [texts], images, class_ids, config)]


def template_cams(
    backbone: Backbone,
    text_sets: Sequence[TextFeatures],
    images: Sequence[Image.Image],
    class_ids: Sequence[Sequence[int]],
    config: CamConfig,
) -> list[list[PhotoCams]]:
    """Make the CAMs of a batch of photos for several templates: each photo is encoded once, its affinity made once.

    Args:
        backbone: CLIP's image network.
        text_sets: text features of the vocabulary, per template.
        images: B RGB photos of one size.
        class_ids: per photo its K >= 1 data set ids.
        config: softmax, refinement, scales and mirrors.

    Returns:
        Per photo and template what `photo_cams` makes with that template's texts alone.

    Raises:
        ShapeError: as `photo_cams`.

    Source: CLIP-ES sec. 3.2: an image's embedding does not depend on the template.
    """
    sizes = {image.size for image in images}
    if len(sizes) != 1 or len(images) != len(class_ids):
        raise ShapeError(
            f"images must be of one size with class ids each, got {len(images)} of sizes {sorted(sizes)} "
            f"with {len(class_ids)} lists of class ids"
        )
    asked = [[_Asked(texts, ids) for texts in text_sets] for ids in class_ids]
    grid_hw = patch_grid((images[0].height, images[0].width), backbone.patch_size)
    views = list(product(config.scales, (False, True) if config.flip else (False,)))
    totals: list[list[PhotoCams]] | None = None
    blocks = config.attention_blocks if REFINEMENTS[config.refine].needs_attention else 0
    for scale, flip in views:
        shown = [_shown(image, backbone.patch_size, scale, flip) for image in images]
        encoded = backbone.encode(torch.stack([backbone.pixels(image) for image in shown]), blocks)
        view = _view_cams(encoded, shown, asked, config)
        brought = [[_to_grid(cams, grid_hw, flip) for cams in photo] for photo in view]
        totals = brought if totals is None else [list(map(_plus, *both)) for both in zip(totals, brought, strict=True)]
    assert totals is not None  # config.scales holds at least one scale
    return [[_divided(total, len(views)) for total in photo] for photo in totals]


def _shown(image: Image.Image, patch_size: int, scale: float, flip: bool) -> Image.Image:
    upright_or_mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image
    return resize_to_patches(upright_or_mirrored, patch_size, scale)


class _Asked:
    """What is asked of a photo's embedding with one template.

    Attributes:
        passes: (P, K + M, D) the texts that compete.
        counts: per class, how many texts are its own.
        logit_scale: CLIP's, after exp.
    """

    def __init__(self, texts: TextFeatures, class_ids: Sequence[int]) -> None:
        self.passes, self.counts = texts.passes(class_ids), texts.text_counts(class_ids)
        self.logit_scale = texts.logit_scale


def _view_cams(
    encoded: Encoded, shown: Sequence[Image.Image], asked: Sequence[Sequence[_Asked]], config: CamConfig
) -> list[list[PhotoCams]]:
    """CAMs of one scale and mirror; all texts of all templates share the last block's forward."""
    embeddings = _where_float64_is(encoded.embedding.detach())
    scored = [
        [_scores_and_gradients(embedding, each, config.softmax) for each in photo]
        for embedding, photo in zip(embeddings, asked, strict=True)
    ]
    of_photos = [torch.cat([gradients for _, gradients in photo]) for photo in scored]
    slots = max(map(len, of_photos))
    padded = torch.stack([F.pad(gradients, (0, 0, 0, slots - len(gradients))) for gradients in of_photos])
    maps = _where_float64_is(gradcam(encoded, padded))
    made = []
    for index, (photo_maps, of_templates, photo) in enumerate(zip(maps, scored, asked, strict=True)):
        attention, photo_rgb = _attention(encoded, index), np.asarray(shown[index])
        own = photo_maps[: sum(len(scores) for scores, _ in of_templates)]
        own_maps = own.split([len(scores) for scores, _ in of_templates])
        made.append(
            [
                _refined(cams, scores, each.counts, attention, photo_rgb, config)
                for cams, (scores, _), each in zip(own_maps, of_templates, photo, strict=True)
            ]
        )
    return made


def _scores_and_gradients(embedding: torch.Tensor, asked: _Asked, softmax: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (S,) and gradients (S, D) of one photo's S class texts, class by class.

    A class takes part in all passes; those after its own texts do not count for it and need no CAM.
    """
    counts = asked.counts
    per_pass = [
        score_gradients(
            embedding, torch.from_numpy(texts).to(embedding.device), asked.logit_scale, len(counts), softmax
        )
        for texts in asked.passes
    ]
    scores, gradients = (torch.stack(parts, dim=1) for parts in zip(*per_pass, strict=True))
    own = [(place, slice(count)) for place, count in enumerate(counts)]
    return torch.cat([scores[each] for each in own]), torch.cat([gradients[each] for each in own])


def _refined(
    maps: torch.Tensor,
    scores: torch.Tensor,
    counts: list[int],
    attention: Attention | None,
    photo_rgb: np.ndarray,
    config: CamConfig,
) -> PhotoCams:
    """Average each class's texts and refine the result."""
    refine = resolve_name(REFINEMENTS[config.refine].function)
    cams = _class_means(maps, counts)
    refined = refine(cams, attention, photo_rgb, config)
    return PhotoCams(_class_means(scores, counts).float().cpu().numpy(), cams.cpu().numpy(), refined.cpu().numpy())


def _class_means(of_texts: torch.Tensor, counts: list[int]) -> torch.Tensor:
    """(S, ...) values of the class texts, class by class -> (K, ...)."""
    return torch.stack([own.mean(dim=0) for own in of_texts.split(counts)])


def _attention(encoded: Encoded, index: int) -> Attention | None:
    """A photo's attention; None if no refinement needs it."""
    return None if encoded.attn_weights is None else Attention(_where_float64_is(encoded.attn_weights[index]))


def _where_float64_is(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor on its device, or on the CPU instead of mps, which has no float64."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor


def _to_grid(cams: PhotoCams, grid_hw: tuple[int, int], flip: bool) -> PhotoCams:
    return PhotoCams(cams.scores, _resized(cams.cam, grid_hw, flip), _resized(cams.refined_cam, grid_hw, flip))


def _resized(maps: np.ndarray, grid_hw: tuple[int, int], flip: bool) -> np.ndarray:
    upright = np.flip(maps, axis=-1).copy() if flip else maps
    if maps.shape[-2:] == grid_hw:
        return upright
    resized = F.interpolate(torch.from_numpy(upright)[None], grid_hw, mode="bilinear", align_corners=False)
    return resized[0].numpy()


def _plus(a: PhotoCams, b: PhotoCams) -> PhotoCams:
    return PhotoCams(a.scores + b.scores, a.cam + b.cam, a.refined_cam + b.refined_cam)


def _divided(total: PhotoCams, views: int) -> PhotoCams:
    return PhotoCams(total.scores / views, total.cam / views, total.refined_cam / views)
