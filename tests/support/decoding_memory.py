"""Print how much memory the loading of photos needs. Each call measures a process of its own.

Usage: python -m support.decoding_memory MEMORY_MIB EXIF PATH ...
"""

import sys

from PIL import Image
from support.own_process import run_module

from clipes.tasks.inputs.photos import Photo, load_photos
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import Worker, WorkerSlot
from clipes_core.config.dataset import DatasetConfig


def peak_mib(paths, memory_mib: int, exif: str = "ignore") -> int:
    """Return the peak memory of a process that loads photos, minus its memory before the first photo [MiB]."""
    done = run_module(__spec__.name, memory_mib, exif, *paths)
    assert (done.returncode, done.stderr) == (0, "")
    return int(done.stdout)


def main() -> None:
    memory_mib, exif, *paths = sys.argv[1:]
    Image.init()
    worker = Worker(WorkerSlot("cpu", 1), Counters(()).of_slot())
    before = worker.peak_memory_mib
    photos = [Photo(path, path, 1, "1", ()) for path in paths]
    for photo, loaded in load_photos(photos, DatasetConfig(root="/", exif=exif), int(memory_mib)):
        assert loaded.image.mode == "RGB", photo
    print(worker.peak_memory_mib - before)


if __name__ == "__main__":
    main()
