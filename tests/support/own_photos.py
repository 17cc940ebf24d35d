"""Folders of a user's own photos, and what clipes reads with the config that `clipes init` wrote for them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from clipes.tasks.commands.init.writing import Initialised, initialise
from clipes.tasks.inputs.configs import load_config
from clipes.tasks.inputs.datasets.listing import read_dataset
from clipes.tasks.inputs.vocabularies import load_vocabulary


def write_photos(folder: Path, paths: Iterable[str]) -> None:
    """Write small photos with different contents."""
    for number, path in enumerate(paths):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (12 + number % 5, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, {"jpg": "JPEG", "jpeg": "JPEG"}.get(file.suffix.lower()[1:]))


def labels_read(done: Initialised, folder: Path) -> dict[str, set[str]]:
    """Return path of each photo -> its labels, as a run with the written config reads them. No photo is rejected."""
    config = load_config(str(done.files[0]))
    vocabulary = load_vocabulary(config.dataset.classes)
    names = {class_id: name for name, class_id in vocabulary.ids.items()}
    listing = read_dataset(config.dataset, vocabulary)
    assert listing.rejects == ()
    return {
        str(Path(photo.uri).relative_to(folder)): {names[class_id] for class_id in photo.class_ids}
        for photo in listing.photos
    }


def init_labels(folder: Path, **options) -> dict[str, set[str]]:
    """Call `clipes init` for a folder, and return the labels as `labels_read` does."""
    return labels_read(initialise(str(folder), **options), folder)


def doubts_of(done: Initialised) -> list[str]:
    """Return the doubts, as the terminal shows them."""
    return [str(doubt) for doubt in done.inspection.found.doubts.found()]
