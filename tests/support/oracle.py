"""The oracle: a second implementation of the method, in float64, plain rather than fast.

It processes one photo, one class and one text at a time. It imports nothing from this repository, so that the tests can
compare the results of the repository with it. From OpenCLIP it takes the weights, their layout and the tokenizer; it
implements the computations of the networks itself.
Axes: K classes present, M background words, C channels, E embedding, n = h * w patches, H W pixels, h w grid.

Source: CLIP-ES (CVPR 2023, arXiv 2212.09506), sec. 3, eq. (1)-(9).
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from support import resnet_oracle
from torch import Tensor

VOC_WORDS = (
    *("aeroplane", "bicycle", "bird avian", "boat", "bottle", "bus", "car", "cat", "chair seat", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person with clothes,people,human", "pottedplant", "sheep"),
    *("sofa", "train", "tvmonitor screen"),
)
VOC_BACKGROUND_WORDS = (
    *("ground", "land", "grass", "tree", "building", "wall", "sky", "lake", "water", "river", "sea"),
    *("railway", "railroad", "keyboard", "helmet", "cloud", "house", "mountain", "ocean", "road", "rock"),
    *("street", "valley", "bridge", "sign"),
)
COCO_BACKGROUND_WORDS = tuple(word for word in VOC_BACKGROUND_WORDS if word not in ("keyboard", "sign"))
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
REFERENCE_MEAN_BGR = (104.008, 116.669, 122.675)


@dataclass(frozen=True)
class CamSwitches:
    """Settings of the CAMs; the defaults are the paper's for VOC."""

    templates: tuple[str, ...] = ("a clean origami {}.",)
    fusion: Literal["sentence", "feature", "cam"] = "sentence"
    pooling: Literal["patch_mean", "cls", "attention"] = "patch_mean"
    softmax: bool = True
    refine: Literal["none", "mhsa", "caa"] = "caa"
    box_threshold: float = 0.4
    attention_blocks: int = 8
    sinkhorn_rounds: int = 3
    power: int = 2
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False


@dataclass(frozen=True)
class MaskSwitches:
    """Settings of the mask and its confidence; the defaults are the paper's."""

    enabled: bool = True
    iter_max: int = 10
    pos_w: float = 3
    pos_xy_std: float = 1
    bi_w: float = 4
    bi_xy_std: float = 67
    bi_rgb_std: float = 3
    image: Literal["rgb", "reference"] = "rgb"
    background_power: float = 1
    source: Literal["crf", "cam"] = "crf"
    half_input: bool = False


class Cams(NamedTuple):
    """Scores (K,), initial and refined CAMs (K, h, w), all float64."""

    scores: np.ndarray
    cam: np.ndarray
    refined: np.ndarray


class VisualPass(NamedTuple):
    """The results of one pass through the visual encoder.

    Attributes:
        patches: (n, C) float64, patch tokens of the last block's ln_1 output. `embedding` is computed from them, so
            that autograd can differentiate scores with respect to them.
        embedding: (E,) float64, not normalised.
        attentions: (n, n) float64 per block, averaged over the heads, without the class token.
    """

    patches: Tensor
    embedding: Tensor
    attentions: list[Tensor]


class Metrics(NamedTuple):
    """Scores of a confusion matrix, in [0, 1]; a class without truth has no IoU and does not count in the means."""

    miou: float
    pixel_accuracy: float
    mean_accuracy: float
    fwiou: float
    class_iou: list[float | None]


def oracle_model(weights: Path) -> open_clip.CLIP:
    """Load a float32 CLIP from a state dict in OpenAI's layout."""
    state_dict = torch.load(weights, weights_only=True)
    model = open_clip.model.build_model_from_openai_state_dict(state_dict, cast_dtype=torch.float32)
    return model.float()


def oracle_cams(
    model: open_clip.CLIP,
    photo: Image.Image,
    classes: Sequence[Sequence[str]],
    background: Sequence[str] = VOC_BACKGROUND_WORDS,
    **switches: Any,
) -> Cams:
    """Compute scores, initial CAMs and refined CAMs of the classes present in one photo (eq. 1-7).

    Args:
        model: CLIP with a plain ViT or a ResNet; its weights are read as float64 and not changed.
        photo: RGB photo.
        classes: K lists of words: one entry each for fusion "sentence", otherwise the synonyms.
        background: M words that compete with the classes; may be empty.
        switches: fields of `CamSwitches`.

    Returns:
        Scores (K,): probabilities, or logits if softmax is off. CAMs (K, h, w) on the grid of scale 1.
    """
    chosen = CamSwitches(**switches)
    rounds = text_rounds(model, classes, background, chosen)
    turns = [len(words) if chosen.fusion == "cam" else 1 for words in classes]
    views = []
    for scale in chosen.scales:
        for mirrored in (False, True) if chosen.flip else (False,):
            pixels = view_pixels(photo, scale, patch_size(model), mirrored)
            view = view_cams(model, pixels, rounds, turns, chosen)
            views.append(mirrored_back(view) if mirrored else view)
    size_hw = grid_hw(photo, 1.0, patch_size(model))
    return Cams(
        np.mean([view.scores for view in views], axis=0),
        np.mean([resized(view.cam, size_hw) for view in views], axis=0),
        np.mean([resized(view.refined, size_hw) for view in views], axis=0),
    )


def view_cams(
    model: open_clip.CLIP, pixels: np.ndarray, rounds: list[Tensor], turns: list[int], chosen: CamSwitches
) -> Cams:
    """Compute scores and CAMs of one view of the photo, on the grid and in the orientation of the view.

    The results of class k are averaged over the first turns[k] rounds, in which each of its synonyms competes once.
    """
    h, w = pixels.shape[0] // patch_size(model), pixels.shape[1] // patch_size(model)
    seen = visual_pass(model, pixels, chosen.pooling)
    results = [texts_scores_cams(model, seen, texts, len(turns), chosen.softmax) for texts in rounds]
    scores = np.array([np.mean([scores[k] for scores, _ in results[:n]]) for k, n in enumerate(turns)])
    cam = np.stack([np.mean([cams[k] for _, cams in results[:n]], axis=0) for k, n in enumerate(turns)])
    cam = cam.reshape(len(turns), h, w)
    return Cams(scores, cam, np.stack([refined_cam(one, seen.attentions, chosen) for one in cam]))


def mirrored_back(view: Cams) -> Cams:
    """Return the CAMs of a mirrored photo in the orientation of the photo."""
    return Cams(view.scores, view.cam[:, :, ::-1], view.refined[:, :, ::-1])


def oracle_text_feature(model: open_clip.CLIP, synonyms: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Compute the feature of one class, (E,) float64 of norm 1: the mean over templates, then over synonyms."""
    return unit(torch.stack([_words_feature(model, words, templates) for words in synonyms]).mean(dim=0))


def _words_feature(model: open_clip.CLIP, words: str, templates: Sequence[str]) -> Tensor:
    sentences = [template.replace("{}", words) for template in templates]
    return unit(torch.stack([unit(encode_text(model, sentence)) for sentence in sentences]).mean(dim=0))


def text_rounds(
    model: open_clip.CLIP, classes: Sequence[Sequence[str]], background: Sequence[str], chosen: CamSwitches
) -> list[Tensor]:
    """Compute the text features (K + M, E) of each round of competition; only fusion "cam" has several rounds.

    In round i each class competes with its i-th synonym. After its last synonym, a class starts again with its first.
    """
    words_of_rounds = [classes]
    if chosen.fusion == "cam":
        n_rounds = max(len(synonyms) for synonyms in classes)
        words_of_rounds = [[[words[i % len(words)]] for words in classes] for i in range(n_rounds)]
    elif chosen.fusion == "sentence" and any(len(words) != 1 for words in classes):
        raise ValueError(f"sentence fusion takes one sentence per class, got {classes}")
    return [
        torch.stack(
            [oracle_text_feature(model, words, chosen.templates) for words in words_of_classes]
            + [oracle_text_feature(model, [word], chosen.templates) for word in background]
        )
        for words_of_classes in words_of_rounds
    ]


def encode_text(model: open_clip.CLIP, sentence: str) -> Tensor:
    """Compute the text embedding (E,) float64, not normalised: the projected state of one token.

    It is the end token, or the last one in networks such as SigLIP's, whose tokens attend to later ones too. MetaCLIP 2
    finds the end token by its id, OpenAI's CLIP as the largest id.
    """
    text = getattr(model, "text", model)
    tokens = open_clip.tokenize([sentence], context_length=model.context_length)[0]
    x = f64(text.token_embedding.weight[tokens]) + f64(text.positional_embedding)
    later = torch.ones(len(tokens), len(tokens), dtype=torch.bool).triu(diagonal=1)
    for block in text.transformer.resblocks:
        x, _ = block_output(block, x, layer_norm(block.ln_1, x), hidden=None if text.attn_mask is None else later)
    pooling = text.pool_type if hasattr(text, "pool_type") else text.text_pool_type
    end = text.eos_id if hasattr(text, "eos_id") else text.text_eos_id
    at = {"last": -1, "argmax": int(tokens.argmax()), "eos": int((tokens == end).int().argmax())}[pooling]
    state, projection = layer_norm(text.ln_final, x)[at], text.text_projection
    return linear(projection, state) if isinstance(projection, torch.nn.Linear) else state @ f64(projection)


def visual_pass(model: open_clip.CLIP, pixels: np.ndarray, pooling: str) -> VisualPass:
    """Run the visual encoder on (H, W, 3) uint8 RGB pixels whose sides are multiples of the patch."""
    visual = model.visual
    if hasattr(visual, "attnpool"):
        return VisualPass(*resnet_oracle.resnet_pass(visual, pixels, CLIP_MEAN, CLIP_STD), attentions=[])
    if hasattr(visual, "trunk"):
        return timm_pass(visual, pixels, pooling)
    x, attentions = embedded_patches(visual, pixels), []
    *earlier, last = visual.transformer.resblocks
    for block in earlier:
        x, attention = block_output(block, x, layer_norm(block.ln_1, x))
        attentions.append(attention)
    normed = layer_norm(last.ln_1, x).detach()
    patches = normed[1:].clone().requires_grad_()
    x, attention = block_output(last, x.detach(), torch.cat([normed[:1], patches]))
    attentions.append(attention)
    pooled = pooled_tokens(x, visual.ln_post, pooling, visual.final_ln_after_pool)
    patch_to_patch = [attention.detach()[1:, 1:] for attention in attentions]
    return VisualPass(patches, pooled @ f64(visual.proj), patch_to_patch)


def embedded_patches(visual: open_clip.transformer.VisionTransformer, pixels: np.ndarray) -> Tensor:
    """Compute the input (1 + n, C) of the first block: class token and patch tokens with position embeddings."""
    positions = f64(visual.positional_embedding)
    class_token = f64(visual.class_embedding) + positions[0]
    tokens = torch.cat(
        [class_token[None], placed_patches(visual, visual.conv1, pixels, positions[1:], visual.grid_size)]
    )
    return layer_norm(visual.ln_pre, tokens)


def placed_patches(visual: Any, conv: Any, pixels: np.ndarray, positions: Tensor, native_hw: tuple[int, int]) -> Tensor:
    """Compute the patch tokens (n, C) with their position embeddings, resized from the native grid."""
    mean, std = getattr(visual, "image_mean", None) or CLIP_MEAN, getattr(visual, "image_std", None) or CLIP_STD
    colours = (torch.tensor(pixels, dtype=torch.float64) / 255 - torch.tensor(mean).double()) / torch.tensor(
        std
    ).double()
    kernel, bias = f64(conv.weight), None if conv.bias is None else f64(conv.bias)
    patches = torch.nn.functional.conv2d(colours.permute(2, 0, 1)[None], kernel, bias, stride=kernel.shape[-1])[0]
    channels, h, w = patches.shape
    grid = positions.T.reshape(1, channels, *native_hw)
    grid = torch.nn.functional.interpolate(grid, (h, w), mode="bilinear", align_corners=False)
    return (patches + grid[0]).reshape(channels, h * w).T


def pooled_tokens(x: Tensor, norm: Any, pooling: str, norm_last: bool, first_patch: int = 1) -> Tensor:
    """Pool (N, C) tokens to (C,), before or after their normalisation."""
    chosen = x[:1] if pooling == "cls" else x[first_patch:]
    if norm_last:
        return layer_norm(norm, chosen.mean(dim=0, keepdim=True))[0]
    return layer_norm(norm, chosen).mean(dim=0)


def timm_pass(visual: Any, pixels: np.ndarray, pooling: str) -> VisualPass:
    """Run a visual encoder that OpenCLIP takes from timm: that of SigLIP, EVA01 or another plain ViT."""
    trunk, attentions = visual.trunk, []
    first = 0 if trunk.cls_token is None else 1
    positions = f64(trunk.pos_embed[0])
    if trunk.no_embed_class:
        positions = torch.cat([torch.zeros(first, positions.shape[1], dtype=torch.float64), positions])
    x = placed_patches(visual, trunk.patch_embed.proj, pixels, positions[first:], trunk.patch_embed.grid_size)
    if first:
        x = torch.cat([f64(trunk.cls_token[0]) + positions[:1], x])
    x = layer_norm(trunk.norm_pre, x)
    for block in trunk.blocks[:-1]:
        x, attention = timm_block_output(block, x, layer_norm(block.norm1, x))
        attentions.append(attention)
    last = trunk.blocks[-1]
    normed = layer_norm(last.norm1, x).detach()
    patches = normed[first:].clone().requires_grad_()
    x, attention = timm_block_output(last, x.detach(), torch.cat([normed[:first], patches]))
    attentions.append(attention)
    if pooling == "attention":
        pooled = map_pooled(trunk.attn_pool, layer_norm(trunk.norm, x)[first:])
    else:
        norm_last = isinstance(trunk.norm, torch.nn.Identity)
        pooled = pooled_tokens(x, trunk.fc_norm if norm_last else trunk.norm, pooling, norm_last, first)
    for layer in [trunk.head, *visual.head]:
        pooled = linear(layer, pooled) if isinstance(layer, torch.nn.Linear) else pooled
    return VisualPass(patches, pooled, [attention.detach()[first:, first:] for attention in attentions])


def timm_block_output(block: Any, x: Tensor, normed: Tensor) -> tuple[Tensor, Tensor]:
    """Apply a block of timm to `x` (N, C), whose norm1 output is `normed`; return output and attention (N, N)."""
    attn = block.attn
    qkv = normed @ f64(attn.qkv.weight).T
    if getattr(attn, "q_bias", None) is not None:  # EVA, whose keys have no bias
        qkv = qkv + torch.cat([f64(attn.q_bias), torch.zeros(len(attn.q_bias)), f64(attn.v_bias)])
    elif attn.qkv.bias is not None:
        qkv = qkv + f64(attn.qkv.bias)
    mixed, attention = heads_attention(*qkv.chunk(3, dim=1), attn.num_heads, None)
    x = x + timm_scale(block, 1) * linear(attn.proj, mixed)
    inner = block.mlp.act(linear(block.mlp.fc1, layer_norm(block.norm2, x)))
    return x + timm_scale(block, 2) * linear(block.mlp.fc2, inner), attention


def timm_scale(block: Any, branch: int) -> Tensor:
    """Return the layer scale of the attention (1) or MLP (2) branch of a block; 1 if it has none."""
    layer = getattr(block, f"ls{branch}", None)
    gamma = getattr(block, f"gamma_{branch}", None) if layer is None else getattr(layer, "gamma", None)
    return torch.ones(1, dtype=torch.float64) if gamma is None else f64(gamma)


def map_pooled(pool: Any, tokens: Tensor) -> Tensor:
    """Pool (n, C) tokens to (C,) as SigLIP does: a learned query attends to them, and an MLP follows."""
    query = linear(pool.q, f64(pool.latent[0]))
    keys, values = linear(pool.kv, tokens).chunk(2, dim=1)
    mixed, _ = heads_attention(query, keys, values, pool.num_heads, None)
    state = linear(pool.proj, mixed)
    inner = pool.mlp.act(linear(pool.mlp.fc1, layer_norm(pool.norm, state)))
    return (state + linear(pool.mlp.fc2, inner))[0]


def block_output(block: Any, x: Tensor, normed: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Apply a transformer block to `x` (N, C), whose ln_1 output is `normed`; return output and attention (N, N)."""
    attended, attention = self_attention(block.attn, normed, hidden)
    x = x + block.ls_1(attended)
    inner = block.mlp.gelu(linear(block.mlp.c_fc, layer_norm(block.ln_2, x)))
    return x + block.ls_2(linear(block.mlp.c_proj, inner)), attention


def self_attention(attn: Any, x: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute multi-head self-attention: (N, C) output, and (N, N) probabilities averaged over the heads."""
    queries, keys, values = (x @ f64(attn.in_proj_weight).T + f64(attn.in_proj_bias)).chunk(3, dim=1)
    mixed, attention = heads_attention(queries, keys, values, attn.num_heads, hidden)
    return linear(attn.out_proj, mixed), attention


def heads_attention(
    queries: Tensor, keys: Tensor, values: Tensor, heads: int, hidden: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Let (N, C) queries attend to (M, C) keys: (N, C) mixed values, and (N, M) mean probabilities of the heads."""
    size = queries.shape[1] // heads
    outputs, probabilities = [], []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        logits = queries[:, part] @ keys[:, part].T / math.sqrt(size)
        logits = logits if hidden is None else logits.masked_fill(hidden, -math.inf)
        probabilities.append(logits.softmax(dim=1))
        outputs.append(probabilities[-1] @ values[:, part])
    return torch.cat(outputs, dim=1), torch.stack(probabilities).mean(dim=0)


def layer_norm(norm: Any, x: Tensor) -> Tensor:
    if isinstance(norm, torch.nn.Identity):
        return x
    centred = x - x.mean(dim=1, keepdim=True)
    variance = (centred**2).mean(dim=1, keepdim=True)
    return centred / torch.sqrt(variance + norm.eps) * f64(norm.weight) + f64(norm.bias)


def linear(layer: Any, x: Tensor) -> Tensor:
    product = x @ f64(layer.weight).T
    return product if layer.bias is None else product + f64(layer.bias)


def f64(weight: Tensor) -> Tensor:
    return weight.detach().cpu().double()


def unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


def patch_size(model: open_clip.CLIP) -> int:
    """Return the side [px] of a patch; for a ResNet, of the square that one position of the last stage stands for."""
    visual = model.visual
    if hasattr(visual, "attnpool"):
        return resnet_oracle.STRIDE
    return (visual.trunk.patch_embed.proj if hasattr(visual, "trunk") else visual.conv1).kernel_size[0]


def grid_hw(photo: Image.Image, scale: float, patch: int) -> tuple[int, int]:
    """Return how many rows and columns of patches cover the scaled photo."""
    return math.ceil(scale * photo.height / patch), math.ceil(scale * photo.width / patch)


def view_pixels(photo: Image.Image, scale: float, patch: int, mirrored: bool) -> np.ndarray:
    """Resize the photo by a scale, with sides rounded up to whole patches, to (H, W, 3) uint8 RGB."""
    h, w = grid_hw(photo, scale, patch)
    pixels = np.array(photo.resize((w * patch, h * patch), Image.Resampling.BICUBIC))
    return pixels[:, ::-1].copy() if mirrored else pixels


def resized(maps: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize (K, h, w) maps bilinearly, with half-pixel centres and without anti-aliasing."""
    h, w = size_hw
    return np.stack([cv2.resize(np.ascontiguousarray(one), (w, h), interpolation=cv2.INTER_LINEAR) for one in maps])


def texts_scores_cams(
    model: open_clip.CLIP, seen: VisualPass, texts: Tensor, n_classes: int, softmax: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Compute scores (K,) and initial CAMs (K, n) of the first K of the (K + M, E) texts."""
    logits = f64(model.logit_scale).exp() * texts @ unit(seen.embedding)
    scores = logits.softmax(dim=0) if softmax else logits
    cams = [initial_cam(scores[index], seen.patches) for index in range(n_classes)]
    return scores[:n_classes].detach().numpy(), np.stack(cams)


def initial_cam(score: Tensor, patches: Tensor) -> np.ndarray:
    """Compute the CAM (n,) of one class, normalised twice because one pass leaves the peak of a tiny map below 1."""
    (gradient,) = torch.autograd.grad(score, patches, retain_graph=True)
    channel_weights = gradient.mean(dim=0)
    cam = (patches.detach() @ channel_weights).clamp(min=0).numpy()
    return normalised(normalised(cam))


def normalised(cam: np.ndarray) -> np.ndarray:
    above = cam - cam.min()
    return above / (above.max() + 1e-7)


def refined_cam(cam: np.ndarray, attentions: list[Tensor], chosen: CamSwitches) -> np.ndarray:
    """Spread one CAM (h, w) along the attention of the last blocks."""
    if chosen.refine == "none":
        return cam
    attn_weights = torch.stack(attentions[-chosen.attention_blocks :]).mean(dim=0).numpy()
    spread = affinity(attn_weights, chosen.sinkhorn_rounds)
    boxes = box_mask(cam, chosen.box_threshold) if chosen.refine == "caa" else np.ones(cam.shape)
    vector = (boxes * cam).ravel()
    for _ in range(chosen.power):
        vector = spread @ vector
    return normalised(vector.reshape(cam.shape))


def affinity(attn_weights: np.ndarray, sinkhorn_rounds: int) -> np.ndarray:
    """Compute the symmetric affinity (n, n); each Sinkhorn round divides by the column sums, then by the row sums."""
    balanced = attn_weights
    for _ in range(sinkhorn_rounds):
        balanced = balanced / balanced.sum(axis=0, keepdims=True)
        balanced = balanced / balanced.sum(axis=1, keepdims=True)
    return (balanced + balanced.T) / 2


def box_mask(cam: np.ndarray, box_threshold: float) -> np.ndarray:
    """Return (h, w) ones in the bounding box of each 8-connected region of high values in a CAM, and zeros elsewhere.

    The published program follows contours. Regions give the same boxes, because the box of a hole, or of an island in
    the hole, lies within the box of the region around it. The bottom and right edges of a box are exclusive and at most
    the last row and column, so that no box covers these.
    """
    h, w = cam.shape
    grey = (cam * 255).astype(np.uint8)
    high = grey > int(box_threshold * int(grey.max()))
    mask = np.zeros((h, w))
    for region in regions(high):
        rows, columns = [row for row, _ in region], [column for _, column in region]
        bottom, right = min(max(rows) + 1, h - 1), min(max(columns) + 1, w - 1)
        mask[min(rows) : bottom, min(columns) : right] = 1
    return mask


def regions(high: np.ndarray) -> list[list[tuple[int, int]]]:
    """Return the 8-connected regions of a boolean map, each as a list of its (row, column) cells."""
    left = {(int(row), int(column)) for row, column in np.argwhere(high)}
    found = []
    while left:
        region, queue = [], deque([left.pop()])
        while queue:
            row, column = queue.popleft()
            region.append((row, column))
            around = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= around
            queue.extend(around)
        found.append(region)
    return found


def oracle_mask(photo: Image.Image, refined: np.ndarray, **switches: Any) -> tuple[np.ndarray, np.ndarray]:
    """Compute the pseudo mask and the confidence of one photo.

    Args:
        photo: RGB photo of W x H pixels.
        refined: (K, h, w) CAMs in [0, 1].
        switches: fields of `MaskSwitches`. If `half_input` is true, the resized CAMs are rounded to float16.

    Returns:
        (H, W) int64, 0 background or k for the k-th CAM, from 1; (H, W) float64 confidence in [0, 1].
    """
    chosen = MaskSwitches(**switches)
    maps = resized(refined.astype(np.float64), (photo.height, photo.width))
    if chosen.half_input:
        maps = maps.astype(np.float16).astype(np.float64)
    best = maps.max(axis=0)
    probs = np.concatenate([(1 - best)[None] ** chosen.background_power, maps])
    if chosen.enabled:
        probs = crf_probs(crf_image(photo, chosen.image), probs, chosen)
    confidence = np.maximum(1 - best, best) if chosen.source == "cam" else probs.max(axis=0).clip(0, 1)
    return probs.argmax(axis=0), confidence


def crf_image(photo: Image.Image, kind: str) -> np.ndarray:
    """Return the CRF's image, (H, W, 3) uint8: the RGB photo, or BGR minus the mean, truncated and wrapped."""
    if kind == "rgb":
        return np.array(photo, dtype=np.uint8)
    centred = np.array(photo, dtype=np.float64)[:, :, ::-1] - np.array(REFERENCE_MEAN_BGR)
    return np.ascontiguousarray(np.trunc(centred).astype(np.int64) % 256).astype(np.uint8)


def crf_probs(image: np.ndarray, probs: np.ndarray, chosen: MaskSwitches) -> np.ndarray:
    """Compute the mean-field posteriors (1 + K, H, W) float64; skip the test if pydensecrf is not installed."""
    dcrf = pytest.importorskip("pydensecrf.densecrf")
    n_labels, height, width = probs.shape
    field = dcrf.DenseCRF2D(width, height, n_labels)
    unary = -np.log(probs.clip(1e-5, 1)).reshape(n_labels, -1).astype(np.float32)
    field.setUnaryEnergy(unary)
    field.addPairwiseGaussian(sxy=chosen.pos_xy_std, compat=chosen.pos_w)
    field.addPairwiseBilateral(sxy=chosen.bi_xy_std, srgb=chosen.bi_rgb_std, rgbim=image, compat=chosen.bi_w)
    posterior = np.array(field.inference(chosen.iter_max), dtype=np.float64)
    return posterior.reshape(probs.shape)


def oracle_sharpness(scores_of_photos: Sequence[np.ndarray]) -> float:
    """Compute the sharpness of a template (eq. 5): the photos' summed variances of scores over their summed means."""
    variance = sum(float(((scores - scores.mean()) ** 2).mean()) for scores in scores_of_photos)
    return variance / sum(float(scores.mean()) for scores in scores_of_photos)


def oracle_confusion(truth: np.ndarray, prediction: np.ndarray, n_classes: int) -> np.ndarray:
    """Count pixels by truth (row) and prediction (column) in (1 + K, 1 + K) int64; truth 255 is ignored."""
    counts = np.zeros((1 + n_classes, 1 + n_classes), dtype=np.int64)
    for true_id, predicted_id in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if true_id != 255:
            counts[true_id, predicted_id] += 1
    return counts


def oracle_metrics(confusion: np.ndarray) -> Metrics:
    """Compute the scores of a confusion matrix with at least one pixel."""
    counts, total = confusion.tolist(), int(confusion.sum())
    correct = [row[index] for index, row in enumerate(counts)]
    true = [sum(row) for row in counts]
    union = [true[c] + sum(row[c] for row in counts) - correct[c] for c in range(len(counts))]
    seen = [c for c in range(len(counts)) if true[c] > 0]
    return Metrics(
        miou=sum(correct[c] / union[c] for c in seen) / len(seen),
        pixel_accuracy=sum(correct) / total,
        mean_accuracy=sum(correct[c] / true[c] for c in seen) / len(seen),
        fwiou=sum(true[c] / total * correct[c] / union[c] for c in seen),
        class_iou=[correct[c] / union[c] if c in seen else None for c in range(len(counts))],
    )
