"""Measure the bookkeeping of large runs: how time, memory, requests and bytes grow with photos and shards.

    python benchmarks/scale.py [--photos 10000 100000 1000000] [--shards 2000 20000 100000] [--s3 20 100] [--json FILE]

Nothing is computed: the benchmark generates lists of photos and stores whose artifacts hold rows of a few hundred
bytes. For each size, a process of its own measures

- `listing`: the list of the photos, with a file of 0 bytes for each photo,
- `plan, empty store`, `plan, all cached`, `plan, half missing`: what `clipes run --plan` does after the listing,
- `cached run`: the search for cached shards, as a run does it for all stages,
- `status` and `report`: what these commands read and write.

`--photos` measures data sets with 1,000 photos per shard, `--shards` measures data sets with two photos per shard, and
`--s3` measures that many shards of 1,000 photos on an S3 server on this host, whose answers are delayed by
`--latency-ms`. There, it also counts the requests, and the bytes that the server sends.

The exponent of a quantity is the slope of its logarithm between the smallest and the largest size: 1 is linear growth.
The benchmark fails if the exponent of a CPU time, of a number of requests or of bytes exceeds a limit, or if the
largest size, extrapolated to two million photos or 100,000 shards, exceeds one.
"""

import argparse
import gc
import math
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from fake_stores import NAME, prepared, write_artifacts, write_list, write_run_files
from paired import write_json

from clipes.tasks.execution.cached_shards import find_cached
from clipes.tasks.execution.runner import Runner
from clipes.tasks.execution.stage_shards import StageShards
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.sharding import divide_into_shards
from clipes.tasks.report.report_file import write_report
from clipes.tasks.runs.dry_run import plan_run
from clipes.tasks.runs.inputs.photos import list_photos
from clipes.tasks.runs.ledger import Ledger
from clipes.tasks.runs.prepared_run import PreparedRun
from clipes.tasks.storage.files import remove
from clipes.tasks.storage.run_status import read_run
from clipes_core.config.run import parse_config

ROOT = Path(__file__).parents[1]
PHOTOS_PER_SHARD, FEW_PHOTOS = 1000, 2
MOST_EXPONENT = 1.1
LEAST_PHOTOS = 100_000  # fewer do not show how memory grows, because what is in flight is not complete
LEAST_SECONDS = 2.0  # shorter CPU times vary too much for an exponent, as wall times do on a busy machine
GOAL_SHARDS = 2000  # of 1,000 photos: two million photos
# Limits for two million photos in GOAL_SHARDS shards, and for one stage of 100,000 shards on disk.
MOST_BYTES, MOST_PLAN_SECONDS, MOST_STAGE_SECONDS, MOST_MEMORY_MIB = 2e9, 120.0, 300.0, 4096.0
PACKAGES = ("pyarrow", "fsspec", "s3fs")


@dataclass
class Measured:
    """What was measured for one size.

    Attributes:
        photos: number of photos.
        shards: number of shards.
        seconds: what was done -> wall time [s].
        cpu: what was done -> CPU time of the process [s].
        requests: what was done -> number of requests to the S3 server; empty on a disk.
        received: what was done -> bytes that the S3 server sent; empty on a disk.
        memory_mib: peak memory of the process [MiB].
    """

    photos: int
    shards: int
    seconds: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    requests: dict[str, float] = field(default_factory=dict)
    received: dict[str, float] = field(default_factory=dict)
    memory_mib: float = 0.0


def main() -> None:
    """Measure all sizes, and print a table for each series."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, nargs="*", default=[10_000, 40_000])
    parser.add_argument("--shards", type=int, nargs="*", default=[500, 2000])
    parser.add_argument("--s3", type=int, nargs="*", default=[10, 40], help="number of shards on the S3 server")
    parser.add_argument("--latency-ms", type=float, default=30.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    series = {
        "photos": [measure_on_disk(photos, max(1, photos // PHOTOS_PER_SHARD)) for photos in arguments.photos],
        "shards": [measure_on_disk(FEW_PHOTOS * shards, shards, listing=False) for shards in arguments.shards],
        "s3": measure_on_s3(arguments.s3, arguments.latency_ms / 1000),
    }
    failures = [failure for name, sizes in series.items() for failure in print_series(name, sizes)]
    print("\n".join(failures) or "all limits are kept")
    if arguments.json:
        found = {name: [asdict(each) for each in sizes] for name, sizes in series.items()}
        write_json(arguments.json, PACKAGES, {**found, "failures": failures})
    sys.exit(bool(failures))


def measure_on_disk(photos: int, shards: int, listing: bool = True) -> Measured:
    """Measure one size in a process of its own, because the peak memory of a process never falls."""
    with (
        tempfile.TemporaryDirectory(prefix="clipes-scale-") as folder,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process,
    ):
        return process.submit(measure, photos, shards, folder, f"{folder}/store", listing).result()


def measure_on_s3(sizes: Sequence[int], delay_s: float) -> list[Measured]:
    """Measure stores on an S3 server, through a proxy that delays each request."""
    if not sizes:
        return []
    sys.path.insert(0, str(ROOT / "tests"))
    from support.s3_server import BUCKET, S3Server
    from support.s3_traffic import s3_traffic

    with tempfile.TemporaryDirectory(prefix="clipes-scale-") as folder:
        server = S3Server(Path(folder))
        server.start()
        try:
            server.make_bucket(BUCKET)
            os.environ.update(server.environment())
            with s3_traffic(server.url, 0.0) as traffic:
                os.environ["AWS_ENDPOINT_URL"] = traffic.url
                found = []
                for shards in sizes:
                    watch = Watch(Measured(shards * PHOTOS_PER_SHARD, shards), traffic, delay_s)
                    found.append(watch_all(watch, folder, f"s3://{BUCKET}/{shards}", listing=False))
                return found
        finally:
            server.kill()


class Watch:
    """Measures blocks of code.

    Args:
        measured: where the measurements are noted.
        traffic: traffic of the S3 server; None on a disk.
        delay_s: time by which each request in a measured block is delayed [s].
    """

    def __init__(self, measured: Measured, traffic: Any = None, delay_s: float = 0.0) -> None:
        self.measured, self._traffic, self._delay_s = measured, traffic, delay_s

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Measure the block."""
        if self._traffic is not None:
            self._traffic.reset()
            self._traffic.delay_s = self._delay_s
        gc.collect()  # as if each command had a process of its own, so that the peak memory is that of one command
        began, worked = time.monotonic(), time.process_time()
        yield
        self.measured.seconds[what] = time.monotonic() - began
        self.measured.cpu[what] = time.process_time() - worked
        if self._traffic is not None:
            self._traffic.delay_s = 0.0
            self.measured.requests[what] = self._traffic.requests.total()
            self.measured.received[what] = self._traffic.received


def measure(photos: int, shards: int, folder: str, store: str, listing: bool) -> Measured:
    """Measure one size on the disk; `folder` is empty."""
    return watch_all(Watch(Measured(photos, shards)), folder, store, listing)


def watch_all(watch: Watch, folder: str, store: str, listing: bool) -> Measured:
    """Measure everything for one size."""
    measured = watch.measured
    ids = [f"photo-{number:08d}" for number in range(measured.photos)]
    values = {
        "name": NAME,
        "store": store,
        "dataset": {"format": "list", "root": f"{folder}/photos", "split": f"{folder}/list.csv", "classes": "scenes"},
        "execution": {"shards": measured.shards},
        "train": {"enabled": False},
        "report": {"gallery": 2},
    }
    config = parse_config(values)
    if listing:
        write_list(Path(folder), ids)
        with watch("listing"):
            assert len(list_photos(config).photos) == measured.photos
    listed = [Photo(name, f"{folder}/photos/{name}.jpg", 100_000, "100000-1", (1,)) for name in ids]
    vocabulary = load_vocabulary("scenes")
    inputs = RunInputs(config, vocabulary, "0" * 16, "fp32", shards=divide_into_shards(listed, measured.shards))
    with watch("plan, empty store"):
        assert all(line.cached_shards == 0 for line in plan_run(prepared(inputs)))
    made = list(write_artifacts(prepared(inputs)))
    with watch("plan, all cached"):
        assert all(line.cached_shards == line.shards for line in plan_run(prepared(inputs)))
    with watch("cached run"):
        ledger = find_all(run := prepared(inputs))
    write_run_files(run, ledger)
    with watch("status"):
        assert read_run(store, NAME).shards
    with watch("report"):
        write_report(store, NAME)
    for of_shard in made[::2]:
        for uri in of_shard:
            remove(uri)
    with watch("plan, half missing"):
        plan_run(prepared(inputs))
    measured.memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return measured


def find_all(run: PreparedRun) -> Ledger:
    """Find all shards in the store, as the scheduler does it for a run of which all shards are cached."""
    ledger, works = Ledger(run.photos, 1), dict[str, StageShards]()
    for stage in run.own_stages():
        upstream = {read.name: works[read.name] for read in stage.upstream}
        works[stage.name] = StageShards(run, ledger, stage, cast(Runner, None), upstream)
        shards = run.shards(stage)
        for shard in shards:
            ledger.planned(stage.name, shard)
        found = find_cached(works[stage.name], shards)
        assert len(found) == len(shards)
        for record in found.values():
            ledger.finished(record, attempt=1)
    return ledger


def print_series(name: str, sizes: Sequence[Measured]) -> list[str]:
    """Print the tables of a series, and return a line for each limit that is exceeded."""
    if not sizes:
        return []
    print(f"\n{name}: " + ", ".join(f"{each.photos} photos in {each.shards} shards" for each in sizes))
    failures = []
    for unit, scale in (("seconds", 1.0), ("cpu", 1.0), ("requests", 1.0), ("received", 1e-6)):
        tables = [cast(dict[str, float], getattr(each, unit)) for each in sizes]
        for what in tables[0]:
            values = [scale * table[what] for table in tables]
            grown = exponent([each.shards for each in sizes], values)
            label = {"cpu": "CPU s", "received": "MB"}.get(unit, unit)
            print(f"  {what:20} {label:9} {' '.join(f'{value:10.2f}' for value in values)}   exponent {grown:5.2f}")
            steady = unit != "seconds" and (unit != "cpu" or values[-1] > LEAST_SECONDS)
            if grown > MOST_EXPONENT and steady:
                failures.append(f"{name}: the {label} of {what} grow with exponent {grown:.2f}, above {MOST_EXPONENT}")
    print(f"  {'peak memory':20} MiB       {' '.join(f'{each.memory_mib:10.0f}' for each in sizes)}", flush=True)
    return [*failures, *exceeded(name, sizes)]


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Return the slope of the logarithm between the first and the last size; nan for a single size."""
    if sizes[0] == sizes[-1]:
        return math.nan
    return math.log(max(values[-1], 1e-9) / max(values[0], 1e-9)) / math.log(sizes[-1] / sizes[0])


def exceeded(name: str, sizes: Sequence[Measured]) -> list[str]:
    """Extrapolate to the sizes of the limits, and return a line for each limit that is exceeded."""
    smallest, largest = sizes[0], sizes[-1]
    if name == "shards":
        seconds = largest.seconds["cached run"] / 2 * 100_000 / largest.shards
        found = {"seconds of bookkeeping per stage of 100,000 shards": (seconds, MOST_STAGE_SECONDS)}
    else:
        goal = GOAL_SHARDS * PHOTOS_PER_SHARD
        more = goal / largest.photos
        slope = (largest.memory_mib - smallest.memory_mib) / max(1, largest.photos - smallest.photos)
        memory = largest.memory_mib + slope * (goal - largest.photos)
        steady = largest.photos >= LEAST_PHOTOS
        found = {"MiB of memory for two million photos": (memory, MOST_MEMORY_MIB)} if steady else {}
    if name == "s3":
        found = {
            "seconds of --plan for two million cached photos": (
                more * largest.seconds["plan, all cached"],
                MOST_PLAN_SECONDS,
            ),
            "MB received by a cached run of two million photos and its report": (
                more * (largest.received["cached run"] + largest.received["report"]) / 1e6,
                MOST_BYTES / 1e6,
            ),
        }
    for what, (value, limit) in found.items():
        print(f"  extrapolated: {value:.0f} {what}, limit {limit:.0f}", flush=True)
    return [f"{name}: {value:.0f} {what}, limit {limit:.0f}" for what, (value, limit) in found.items() if value > limit]


if __name__ == "__main__":
    main()
