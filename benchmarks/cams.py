"""Compare the CAMs of clipes with a plain version of the published program, in speed and result.

    python benchmarks/cams.py --voc ../shared/voc_mini [--pretrained random:0] [--precisions fp32,fast] [--workers 1]

The classes of a photo are those of its true mask. The CLIP network has random weights by default. `published_cams.py`
is the baseline; it runs in float32, in one process with all cores. clipes runs in worker processes that share the
cores: one per core by default, as in a run without a GPU. On each photo, the baseline and all precisions of clipes take
turns, so that changes in the speed of the machine affect all of them. All workers compute the CAMs of the photo at the
same time, and the time that they need is divided by their number.

For each precision, the benchmark prints the median and the quartiles of the ratio of the baseline's time to that of
clipes, the median times, and the share of the pixels with the same class: of all photos, and of the worst photo. The
class of a pixel is the largest of the resized CAMs and the background score. `--sizes` then measures the time and the
peak memory of one worker with one thread at each size (width x height), and prints how both grow with the number of
tokens. `--json` writes all measurements to a file. Set OMP_WAIT_POLICY=passive, as the workers of a run do: otherwise,
waiting threads take the cores from others.
"""

import argparse
import math
import multiprocessing
import tempfile
import time
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paired import quartiles, write_json
from PIL import Image
from published_cams import save_cams

from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.machine.devices import cores
from clipes.tasks.models.clip import load_clip
from clipes_core.backbones.vit import VitBackbone
from clipes_core.cams import photo_cams
from clipes_core.config.pseudo_masks import CamConfig, ClipConfig, PromptsConfig
from clipes_core.prompts import text_feature, vocabulary_texts
from clipes_core.pseudo_mask import resize_cams, scores_with_background
from clipes_core.text_features import TextFeatures, competitors

PACKAGES = ("torch", "open_clip_torch", "numpy")
FIRST_IDS = (1, 2)  # the classes of the photos of `--sizes`


@dataclass(frozen=True)
class Pair:
    """The baseline and clipes on one photo.

    Attributes:
        image_id: the photo.
        precision: precision of clipes.
        baseline_s: wall time of the baseline [s].
        own_s: wall time of clipes, divided by the number of workers [s].
        equal: share of the pixels with the same class.
        difference: largest difference of a refined CAM.
    """

    image_id: str
    precision: str
    baseline_s: float
    own_s: float
    equal: float
    difference: float

    @property
    def ratio(self) -> float:
        """How many times as long the baseline takes."""
        return self.baseline_s / self.own_s


@dataclass(frozen=True)
class Alone:
    """A worker process with one thread that computes the CAMs of one photo with two classes.

    Attributes:
        precision: precision of clipes.
        size: width x height of the photo [px].
        tokens: number of patches.
        seconds: wall time of a photo [s].
        peak_mib: peak memory of the process [MiB].
    """

    precision: str
    size: str
    tokens: int
    seconds: float
    peak_mib: int


def main() -> None:
    """Measure all pairs and all sizes, and print a line for each precision and for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voc", type=Path, required=True, help="folder with JPEGImages and SegmentationClass")
    parser.add_argument("--model", default="ViT-B-16-quickgelu")
    parser.add_argument("--pretrained", default="random:0")
    parser.add_argument("--precisions", default="fp32,fast")
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=cores())
    parser.add_argument("--sizes", default="500x375,1024x768", help="empty: measure no sizes")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    precisions = arguments.precisions.split(",")
    config = ClipConfig(model=arguments.model, pretrained=arguments.pretrained)
    print(f"{config.model}, {config.pretrained}, {cores()} cores, {arguments.workers} workers", flush=True)
    photos = chosen_photos(arguments.voc, arguments.photos)
    with Workers(config, precisions, arguments.workers) as workers:
        pairs = measure_photos(config, precisions, photos, arguments.rounds, workers)
    for precision in precisions:
        report([pair for pair in pairs if pair.precision == precision])
    alone = []
    for precision in precisions if arguments.sizes else ():
        alone += measure_sizes(config, precision, arguments.sizes.split(","))
    if arguments.json:
        settings = {"clip": config.model_dump(), "cores": cores(), "workers": arguments.workers}
        results = {"pairs": [asdict(each) for each in pairs], "sizes": [asdict(each) for each in alone]}
        write_json(arguments.json, PACKAGES, settings | results)


def chosen_photos(voc: Path, count: int) -> dict[str, tuple[Image.Image, list[int]]]:
    """Return photos from all of the data set, each with the ids of its classes."""
    masks = sorted((voc / "SegmentationClass").glob("*.png"))
    chosen = {}
    for path in masks[:: max(1, len(masks) // count)][:count]:
        ids = [int(label) for label in np.unique(np.asarray(Image.open(path))) if label not in (0, 255)]
        chosen[path.stem] = Image.open(voc / "JPEGImages" / f"{path.stem}.jpg").convert("RGB"), ids
    return chosen


class Workers:
    """Worker processes that compute the CAMs of the same photo at the same time."""

    def __init__(self, config: ClipConfig, precisions: list[str], count: int) -> None:
        """Start the processes. The cores are divided among them."""
        spawn = multiprocessing.get_context("spawn")
        self._ends = []
        for _ in range(count):
            own, other = spawn.Pipe()
            arguments = other, config, precisions, max(1, cores() // count)
            spawn.Process(target=compute_cams, args=arguments, daemon=True).start()
            other.close()  # so that `recv` fails, and does not wait forever, if the process has died
            self._ends.append(own)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            end.send(None)

    def refined_cams(self, precision: str, image: Image.Image, class_ids: list[int]) -> tuple[np.ndarray, float]:
        """Return the refined CAMs, and the wall time of all workers divided by their number [s]."""
        for end in self._ends:
            end.send((precision, image, class_ids))
        found, seconds = timed(lambda: [end.recv() for end in self._ends])
        return found[0], seconds / len(found)


def compute_cams(pipe: Connection, config: ClipConfig, precisions: list[str], threads: int) -> None:
    """Answer each question for CAMs that arrives through a pipe. None ends the process."""
    torch.set_num_threads(threads)
    clip = load_clip(config)
    texts = read_texts(clip)
    backbones = {precision: VitBackbone(clip.model.visual, precision=precision) for precision in precisions}
    while question := pipe.recv():
        precision, image, class_ids = question
        (cams,) = photo_cams(backbones[precision], texts, [image], [class_ids], CamConfig())
        pipe.send(cams.refined_cam)


def measure_photos(
    config: ClipConfig,
    precisions: list[str],
    photos: dict[str, tuple[Image.Image, list[int]]],
    rounds: int,
    workers: Workers,
) -> list[Pair]:
    """Run the baseline and all precisions on each photo, several times. A first run of each does not count."""
    clip = load_clip(config)
    texts = read_texts(clip)
    torch.set_num_threads(cores())
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        first = next(iter(photos))
        for image_id in (first, *rounds * list(photos)):
            image, ids = photos[image_id]
            (of_photo,) = competitors(texts.class_ids, ids)
            chosen = torch.from_numpy(texts.features[of_photo])
            saved = Path(folder) / f"{image_id}.npy"
            args = clip.model.visual, chosen, len(ids), texts.logit_scale, image, saved
            baseline, baseline_s = timed(lambda args=args: save_cams(*args))
            expected = classes_of(baseline, image)
            for precision in precisions:
                refined, own_s = workers.refined_cams(precision, image, ids)
                equal = float((classes_of(refined, image) == expected).mean())
                difference = float(np.abs(refined - baseline).max())
                pairs.append(Pair(image_id, precision, baseline_s, own_s, equal, difference))
    return pairs[len(precisions) :]


def read_texts(clip: Any) -> TextFeatures:
    """Return the text features of the VOC classes and of the background words."""
    texts = vocabulary_texts(load_vocabulary("voc12"), PromptsConfig())
    templates = PromptsConfig().templates
    features = [text_feature(clip.model, clip.tokenizer, text.phrases, templates).numpy() for text in texts]
    ids = np.array([text.class_id for text in texts])
    return TextFeatures(ids, np.stack(features), float(clip.model.logit_scale.detach().exp()))


def timed(call: Any) -> tuple[Any, float]:
    """Return the result of a call, and its wall time [s]."""
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started


def classes_of(refined: np.ndarray, image: Image.Image) -> np.ndarray:
    """Return (H, W) ids: 0 for the background, or the position of the class in `refined`, from 1."""
    return scores_with_background(resize_cams(refined, (image.height, image.width)), 1).argmax(axis=0)


def report(pairs: list[Pair]) -> None:
    """Print the comparison of one precision with the baseline."""
    baseline, own = (np.median([getattr(pair, key) for pair in pairs]) for key in ("baseline_s", "own_s"))
    equal = {pair.image_id: pair.equal for pair in pairs}.values()
    print(
        f"{pairs[0].precision:5} ratio {quartiles([pair.ratio for pair in pairs])}   baseline {baseline:.3f} s, "
        f"own {own:.3f} s   equal pixels {np.mean(list(equal)):.5f}, worst photo {min(equal):.5f}, "
        f"CAMs within {max(pair.difference for pair in pairs):.0e}   {len(pairs)} pairs",
        flush=True,
    )


def measure_sizes(config: ClipConfig, precision: str, sizes: list[str]) -> list[Alone]:
    """Measure each size in a process of its own, and print how time and memory grow with the number of tokens."""
    found: list[Alone] = []
    for size in sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found.append(pool.apply(measure_alone, (config, precision, size)))
        each = found[-1]
        print(f"{precision:5} {size:>9}   {each.seconds:6.3f} s, peak {each.peak_mib:5.0f} MiB", end="")
        if len(found) > 1:
            growth = math.log(each.tokens / found[0].tokens)
            exponents = (
                math.log(getattr(each, key) / getattr(found[0], key)) / growth for key in ("seconds", "peak_mib")
            )
            print("   exponents in tokens: time {:.2f}, memory {:.2f}".format(*exponents), end="")
        print(flush=True)
    return found


def measure_alone(config: ClipConfig, precision: str, size: str) -> Alone:
    """Compute the CAMs of a photo of random pixels four times. The first time does not count."""
    torch.set_num_threads(1)
    width, height = map(int, size.split("x"))
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
    clip = load_clip(config)
    texts, backbone = read_texts(clip), VitBackbone(clip.model.visual, precision=precision)
    turns = [timed(lambda: photo_cams(backbone, texts, [image], [FIRST_IDS], CamConfig()))[1] for _ in range(4)]
    patches = math.ceil(width / backbone.patch_size) * math.ceil(height / backbone.patch_size)
    return Alone(precision, size, patches, float(np.median(turns[1:])), peak_memory_mib())


def peak_memory_mib() -> int:
    """Return the peak memory of this process [MiB]. A spawned process inherits the ru_maxrss of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
