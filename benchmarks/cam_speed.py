"""Measure how long CLIP's CAMs take on this machine, relative to CAMs in fp32 in the same run.

    python benchmarks/cam_speed.py [--model ViT-B-16-quickgelu] [--size 500x375] [--rounds 5]

The benchmark times CAMs of one photo of random pixels with random weights: with two classes in fp32, in bf16 and
without refinement, and with four classes. It also times the affinity of eq. (7) alone, as clipes computes it and as the
paper's matrix product. The fastest round counts. The variants take turns, so that a machine that slows down slows all
of them.
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
from clipes_core.config.run import CamConfig, ClipConfig
from clipes_core.gradcam import normalise_cam
from clipes_core.text_features import TextFeatures

CLASSES, BACKGROUND_WORDS = 2, 25


def main() -> None:
    """Measure all variants and print their times."""
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
        print(f"{name:32} {seconds:8.3f} s   x {seconds / base:.2f} of cams fp32")


def variants(model: str, width: int, height: int) -> dict[str, Callable[[], object]]:
    """Return the calls to time, by name."""
    config = ClipConfig(model=model, pretrained="random:0")
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
    fp32 = Backbone(load_clip(config).model.visual)
    bf16 = Backbone(load_clip(config).model.visual, dtype=torch.bfloat16)
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
    """Compute eq. (7) as the paper writes it: A squared, once per class."""
    refined = []
    for cam in cams:
        d = sinkhorn(attention, 3)
        affinity = (d + d.T) / 2
        refined.append((affinity @ affinity @ cam.flatten()).reshape(cam.shape))
    return normalise_cam(torch.stack(refined))


def measure(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the fastest time of each call [s]. An additional first round warms up and does not count."""
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
