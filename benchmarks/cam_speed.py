"""Measure how long this machine takes to compute CAMs, in several variants.

    python benchmarks/cam_speed.py [--model ViT-B-16-quickgelu] [--size 500x375] [--rounds 5]

The benchmark computes the CAMs of a photo of random pixels. The CLIP network has random weights. The variants are two
classes in fp32, two classes in bf16, two classes in fp32 without refinement, and four classes in fp32. The benchmark
also measures two variants of the refinement alone (eq. (7) of CLIP-ES): the computation of clipes, and the matrix
products of the paper. Every round measures all variants, so that changes in the speed of the machine affect all of
them. For each variant, the benchmark prints the fastest time in seconds, and the ratio of this time to the time of the
first variant.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from clipes.tasks.models.clip import load_clip
from clipes_core.affinity import refine_cams, sinkhorn
from clipes_core.backbone import Backbone
from clipes_core.cams import photo_cams
from clipes_core.config.pseudo_masks import CamConfig, ClipConfig
from clipes_core.gradcam import normalise_cam
from clipes_core.text_features import TextFeatures

CLASSES, BACKGROUND_WORDS = 2, 25


def main() -> None:
    """Measure all variants, and print the fastest time of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16-quickgelu")
    parser.add_argument("--size", default="500x375")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))
    fastest = measure(variants(arguments.model, width, height), arguments.rounds)
    base = fastest["cams fp32"]
    print(f"{arguments.model}, {arguments.size}, {torch.get_num_threads()} threads")
    for name, seconds in fastest.items():
        print(f"{name:32} {seconds:8.3f} s   {seconds / base:.2f} times cams fp32")


def variants(model: str, width: int, height: int) -> dict[str, Callable[[], object]]:
    """Return a dict: each key is the name of a variant, and its value is a function that runs the variant."""
    config = ClipConfig(model=model, pretrained="random:0")
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
    fp32 = Backbone(load_clip(config).model.visual)
    bf16 = Backbone(load_clip(config).model.visual, precision="bf16")
    texts = random_texts(fp32, random)
    plain, caa = CamConfig(refine="none"), CamConfig()
    ids = [tuple(range(1, CLASSES + 1))]
    patches = -(-height // fp32.patch_size), -(-width // fp32.patch_size)
    attention = torch.rand(patches[0] * patches[1], patches[0] * patches[1])
    cams = torch.rand(CLASSES, *patches)
    everywhere = torch.ones_like(cams, dtype=torch.bool)
    return {
        "cams fp32": lambda: photo_cams(fp32, texts, [image], ids, caa),
        "cams bf16": lambda: photo_cams(bf16, texts, [image], ids, caa),
        "cams fp32, refine none": lambda: photo_cams(fp32, texts, [image], ids, plain),
        "cams fp32, four classes": lambda: photo_cams(fp32, texts, [image], [(1, 2, 1, 2)], caa),
        "affinity": lambda: refine_cams(cams, sinkhorn(attention.double(), 3), everywhere, 2),
        "affinity as matrix products": lambda: refine_by_matrix_product(cams, attention),
    }


def random_texts(backbone: Backbone, random: np.random.Generator) -> TextFeatures:
    """Return random unit vectors as text features."""
    dim = backbone.visual.proj.shape[1]
    features = random.standard_normal((CLASSES + BACKGROUND_WORDS, dim)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    ids = np.array([*range(1, CLASSES + 1), *([0] * BACKGROUND_WORDS)])
    return TextFeatures(ids, features, logit_scale=100.0)


def refine_by_matrix_product(cams: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """Compute eq. (7) of CLIP-ES as written: for each class, compute A, square it, and multiply it by the CAM."""
    refined = []
    for cam in cams:
        d = sinkhorn(attention, 3)
        affinity = (d + d.T) / 2
        refined.append((affinity @ affinity @ cam.flatten()).reshape(cam.shape))
    return normalise_cam(torch.stack(refined))


def measure(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the fastest time of each function [s]. A warm-up round runs first and does not count."""
    seconds = {name: float("inf") for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if turn:
                seconds[name] = min(seconds[name], time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main()
