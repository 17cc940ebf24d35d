"""Measure the time and the peak memory of listing a data set as large as COCO.

    python benchmarks/coco_listing.py [--images 118287] [--folder FOLDER]

The benchmark generates an annotation file with random outlines, as large as that of COCO 2017 train (118,287 images and
about 860,000 annotations), and a file of 0 bytes for each photo. A process of its own then lists the photos. The
benchmark fails if this process needs more than MOST_MEMORY_MIB.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from clipes.tasks.machine.worker_state import peak_memory_mib
from clipes.tasks.runs.inputs.photos import list_photos
from clipes_core.config.run import parse_config

IMAGES, ANNOTATIONS_PER_IMAGE, POINTS = 118_287, 7.27, 28
WIDTH, HEIGHT, CATEGORIES = 640, 480, 80
MOST_MEMORY_MIB = 1536


def write_data_set(root: Path, images: int, seed: int = 0) -> int:
    """Write an annotation file, and an empty file for each photo; return the number of annotations.

    The annotations are in random order, as in COCO's files. Every hundredth one is the RLE of a crowd.
    """
    from clipes.tasks.inputs.vocabularies import load_vocabulary

    random, names = np.random.default_rng(seed), [entry.name for entry in load_vocabulary("coco14").classes]
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    photos = root / "train2014"
    photos.mkdir(exist_ok=True)
    records = []
    for number in range(images):
        name = f"COCO_train2014_{number:012d}.jpg"
        (photos / name).touch()
        records.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT, "license": 3})
    count = round(images * ANNOTATIONS_PER_IMAGE)
    with (root / "annotations" / "instances_train2014.json").open("w") as file:
        file.write(f'{{"info": {{}}, "images": {json.dumps(records)}, "annotations": [')
        for number in range(count):
            file.write(", " * (number > 0) + json.dumps(_annotation(number, int(random.integers(images)), random)))
        categories = [{"id": 1 + place, "name": name} for place, name in enumerate(names)]
        file.write(f'], "categories": {json.dumps(categories)}}}')
    return count


def _annotation(number: int, image: int, random: np.random.Generator) -> dict[str, object]:
    common = {
        "id": number,
        "image_id": image,
        "category_id": 1 + int(random.integers(CATEGORIES)),
        "area": 1234.5,
        "bbox": [1.0, 2.0, 3.0, 4.0],
        "iscrowd": int(number % 100 == 0),
    }
    if number % 100 == 0:
        counts = [WIDTH * HEIGHT - 2000, 1000, 1000]
        return {"segmentation": {"counts": counts, "size": [HEIGHT, WIDTH]}, **common}
    points = 3 + int(random.exponential(POINTS))
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radii = random.uniform(10, 60) * random.uniform(0.7, 1.3, points)
    x = np.clip(random.uniform(0, WIDTH) + radii * np.cos(angles), 0, WIDTH).round(2)
    y = np.clip(random.uniform(0, HEIGHT) + radii * np.sin(angles), 0, HEIGHT).round(2)
    return {"segmentation": [np.stack([x, y], axis=1).ravel().tolist()], **common}


def measure(root: Path) -> tuple[int, float, float, int]:
    """List the photos in a new process; return their number, wall time and CPU time [s], and the peak memory [MiB]."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (str(root),))


def _measure(root: str) -> tuple[int, float, float, int]:
    config = parse_config({"name": "listed", "dataset": {"format": "coco", "root": root, "split": "train2014"}})
    config = config.model_copy(update={"dataset": config.dataset.model_copy(update={"classes": "coco14"})})
    started, started_cpu = time.monotonic(), time.process_time()
    listing = list_photos(config)
    seconds, cpu = time.monotonic() - started, time.process_time() - started_cpu
    return len(listing.photos), seconds, cpu, peak_memory_mib()


def main() -> int:
    """Run the benchmark; return 1 if the listing needs too much memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--folder", help="folder for the generated files, which are kept; by default, a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(arguments.folder or temporary)
        file = root / "annotations" / "instances_train2014.json"
        if not file.exists():
            write_data_set(root, arguments.images)
        photos, seconds, cpu, memory_mib = measure(root)
        size_mb = file.stat().st_size / 1e6
    print(f"{photos} photos, {size_mb:.0f} MB: {seconds:.1f} s ({cpu:.1f} s of CPU), peak memory {memory_mib} MiB")
    return int(memory_mib > MOST_MEMORY_MIB)


if __name__ == "__main__":
    sys.exit(main())
