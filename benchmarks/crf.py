"""Compare the CRF backends of clipes in speed, labels and posterior.

    python benchmarks/crf.py --voc ../shared/voc_mini [--cams ../shared/golden] [--photos 36] [--labels 2,3,4,5,8,21]
        [--sizes 94x125,1500x2000] [--set bi_rgb_std=13] [--image reference] [--json measured.json]

The class scores of a photo are its true masks, shifted, blurred and made noisy. If the photo has fewer classes than the
number of labels, mirrored masks serve as further classes. The backends take turns on each photo, in one process, so
that changes in the speed of the machine affect both. The benchmark measures the CPU time of the process, without
decoding and without the logarithm of the scores. It prints, for each number of labels, the median and the quartiles of
the ratio of both times, the median time of each backend, and how well the results agree: the lowest share of equal
labels, the lowest share of equal confidence levels, the largest difference of a confidence level, and the largest
difference of a posterior. `--sizes` resizes the photos and measures two labels. `--cams` names a folder of files
`<photo>.npz` with refined CAMs (`refined_cam`), which then serve as scores too. `--set` changes a setting of the CRF,
and `--image` the image whose colours it compares. `--json` writes all measurements to a file.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from paired import quartiles, write_json
from PIL import Image

from clipes_core.config.crf import DenseCrfConfig
from clipes_core.crf_backends import CRF_BACKENDS
from clipes_core.dense_crf import LOWEST_PROB, crf_image, prepare_crf
from clipes_core.pseudo_mask import resize_cams, scores_with_background

ORACLE, OWN = "pydensecrf", "lattice"
PACKAGES = ("numba", "llvmlite", "numpy", "pydensecrf2")


@dataclass(frozen=True)
class Case:
    """What all photos of a benchmark have in common.

    Attributes:
        voc: folder with the photos and their true masks.
        config: settings of the CRF; the backend in it is ignored.
        image: image whose colours the CRF compares; see `crf_image`.
    """

    voc: Path
    config: DenseCrfConfig
    image: Literal["rgb", "reference"]


@dataclass(frozen=True)
class Pair:
    """Both backends on one photo.

    Attributes:
        image_id: the photo.
        labels: number of labels, including the background.
        height: height of the photo [px].
        width: width of the photo [px].
        oracle_s: CPU time of pydensecrf [s].
        own_s: CPU time of lattice [s].
        equal_labels: share of the pixels with equal labels.
        equal_levels: share of the pixels with equal confidence levels.
        level_step: largest difference of a confidence level.
        difference: largest difference of the posterior.
    """

    image_id: str
    labels: int
    height: int
    width: int
    oracle_s: float
    own_s: float
    equal_labels: float
    equal_levels: float
    level_step: int
    difference: float

    @property
    def ratio(self) -> float:
        """How many times as long pydensecrf takes."""
        return self.oracle_s / self.own_s


def main() -> None:
    """Measure all pairs, and print a line for each number of labels and for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc", type=Path, required=True, help="folder with JPEGImages and SegmentationClass")
    parser.add_argument("--cams", type=Path, help="folder of npz files with refined CAMs")
    parser.add_argument("--photos", type=int, default=36)
    parser.add_argument("--labels", default="2,3,4,5,8,21", help="empty: measure no masks")
    parser.add_argument("--sizes", default="", help="for example 94x125,1500x2000 (height x width)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the CRF")
    parser.add_argument("--image", choices=("rgb", "reference"), default="rgb")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    config = DenseCrfConfig(**dict(setting.split("=") for setting in arguments.set))
    case = Case(arguments.voc, config, arguments.image)
    prepare_crf(DenseCrfConfig(backend=OWN), print, print)
    image_ids = sorted(path.stem for path in (arguments.voc / "SegmentationClass").glob("*.png"))
    chosen = image_ids[:: max(1, len(image_ids) // arguments.photos)][: arguments.photos]
    pairs = []
    for labels in map(int, filter(None, arguments.labels.split(","))):
        pairs += report(f"{labels} labels", (measure_masks(case, image_id, labels) for image_id in chosen))
    if arguments.cams:
        pairs += report("CAMs", (measure_cams(case, path) for path in sorted(arguments.cams.glob("*.npz"))))
    for size in filter(None, arguments.sizes.split(",")):
        size_hw = tuple(map(int, size.split("x")))
        few = chosen[:: max(1, len(chosen) // 6)]
        pairs += report(size, (measure_masks(case, image_id, 2, size_hw) for image_id in few))
    if arguments.json:
        measured = [asdict(pair) for pair in pairs]
        write_json(arguments.json, PACKAGES, {"settings": arguments.set, "image": arguments.image, "pairs": measured})


def report(name: str, measured: Iterable[Pair]) -> list[Pair]:
    """Print and return pairs."""
    pairs = list(measured)
    oracle, own = (np.median([getattr(pair, key) for pair in pairs]) for key in ("oracle_s", "own_s"))
    print(
        f"{name:10} ratio {quartiles([pair.ratio for pair in pairs])}   {ORACLE} {oracle:.3f} s, {OWN} {own:.3f} s   "
        f"equal labels {min(pair.equal_labels for pair in pairs):.6f}, "
        f"equal levels {min(pair.equal_levels for pair in pairs):.6f} "
        f"(largest step {max(pair.level_step for pair in pairs)}), "
        f"posterior within {max(pair.difference for pair in pairs):.0e}   {len(pairs)} pairs",
        flush=True,
    )
    return pairs


def measure_masks(case: Case, image_id: str, labels: int, size_hw: tuple[int, ...] | None = None) -> Pair:
    """Run both backends on a photo with scores from its true mask."""
    image = Image.open(case.voc / "JPEGImages" / f"{image_id}.jpg").convert("RGB")
    truth = Image.open(case.voc / "SegmentationClass" / f"{image_id}.png")
    if size_hw is not None:
        image = image.resize(size_hw[::-1], Image.Resampling.BICUBIC)
        truth = truth.resize(size_hw[::-1], Image.Resampling.NEAREST)
    return measure(case, image_id, np.array(image), blurred_masks(np.asarray(truth), labels))


def measure_cams(case: Case, cams: Path) -> Pair:
    """Run both backends on a photo with its refined CAMs as scores."""
    image = np.array(Image.open(case.voc / "JPEGImages" / f"{cams.stem}.jpg").convert("RGB"))
    scores = scores_with_background(resize_cams(np.load(cams)["refined_cam"], image.shape[:2]), 1)
    return measure(case, cams.stem, image, scores)


def measure(case: Case, image_id: str, image_rgb: np.ndarray, scores: np.ndarray) -> Pair:
    """Run both backends on (H, W, 3) uint8 RGB and (labels, H, W) float32 scores."""
    unary = np.ascontiguousarray(-np.log(scores.clip(LOWEST_PROB, 1)))
    image = crf_image(image_rgb, case.image)
    (oracle, oracle_s), (own, own_s) = (
        timed(CRF_BACKENDS[name].load(), unary, image, case.config) for name in (ORACLE, OWN)
    )
    levels = [np.rint(255 * posterior.max(axis=0)) for posterior in (oracle, own)]
    return Pair(
        image_id,
        *unary.shape,
        oracle_s=oracle_s,
        own_s=own_s,
        equal_labels=float((oracle.argmax(axis=0) == own.argmax(axis=0)).mean()),
        equal_levels=float((levels[0] == levels[1]).mean()),
        level_step=int(np.abs(levels[0] - levels[1]).max()),
        difference=float(np.abs(oracle - own).max()),
    )


def timed(
    infer: Callable[..., np.ndarray], unary: np.ndarray, image: np.ndarray, config: DenseCrfConfig
) -> tuple[np.ndarray, float]:
    """Return a posterior and the CPU time of its computation [s]."""
    started = time.process_time()
    posterior = infer(unary, image, config)
    return posterior, time.process_time() - started


def blurred_masks(truth: np.ndarray, labels: int) -> np.ndarray:
    """Return (labels, H, W) float32 scores, similar to refined CAMs, from a true mask."""
    random = np.random.default_rng(0)
    height, width = truth.shape
    classes = [label for label in np.unique(truth).tolist() if label not in (0, 255)]
    scores = np.empty((labels - 1, height, width), np.float32)
    for channel, score in enumerate(scores):
        mask = (truth == classes[channel % len(classes)]).astype(np.float32)
        if channel >= len(classes):
            mask = np.roll(mask[:, ::-1], random.integers(0, (height, width)), (0, 1))
        mask = cv2.GaussianBlur(np.roll(mask, random.integers(-12, 13, 2), (0, 1)), (0, 0), 10)
        noise = random.normal(0, 0.12, (height // 16 + 1, width // 16 + 1)).astype(np.float32)
        mask = np.clip(mask + cv2.resize(noise, (width, height)), 0, None)
        score[:] = mask / mask.max() * random.uniform(0.7, 1)
    return scores_with_background(scores, 1)


if __name__ == "__main__":
    main()
