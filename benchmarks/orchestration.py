"""Measure how much time a run spends on things other than computation: the server, imports, task runs and files.

    python -m benchmarks.orchestration [--shards 2000 10000]

The benchmark runs the demo, and then data sets that have one tiny photo per shard. It runs each of them twice. In the
second run, all shards are cached. For each run, the benchmark computes two times: the mean computing time of the GPU
workers, and the mean computing time of the CPU workers. It subtracts the longer time from the wall time of the command.
The difference is called orchestration. The benchmark also prints limits for some of the times. On an otherwise idle
machine, the times should be below these limits.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from clipes.tasks.machine.devices import cpu_slots, gpu_slots
from clipes.tasks.plan.sharding import shard_of
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.execution import ExecutionConfig
from clipes_core.config.pseudo_masks import ClipConfig

ROOT = Path(__file__).parents[1]
DEMO_SECONDS, SECONDS_PER_SHARD, CACHED_SECONDS, TINY_SECONDS = 20, 0.1, 25, 600
TINY = """
name: tiny
dataset: {{format: list, root: {folder}, split: {folder}/list.csv, classes: scenes}}
clip: {{model: clipes-demo, pretrained: clipes-demo}}
cam: {{attention_blocks: 6}}
crf: {{enabled: false}}
train: {{enabled: false}}
execution: {{shards: {shards}, shard_timeout_s: 600}}
"""


@dataclass(frozen=True)
class Cost:
    """The times of a run.

    Attributes:
        wall: wall time of the command [s].
        working: mean computing time of the GPU workers or of the CPU workers, whichever is longer [s].
        shards: number of shards of all stages.
    """

    wall: float
    working: float
    shards: int

    @property
    def orchestration(self) -> float:
        """The wall time minus the computing time [s]."""
        return self.wall - self.working


def main() -> None:
    """Measure the runs, and print their times and the limits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--shards", type=int, nargs="*", default=[2000], help="number of shards of each data set of tiny photos"
    )
    parser.add_argument("--no-demo", action="store_true", help="run only the data sets of tiny photos")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.no_demo:
            demo = ["configs/demo.yaml", "--store", f"{folder}/demo"]
            print_cost("demo", first := measured(demo, f"{folder}/demo/runs/demo"))
            print(
                f"  limit of the orchestration: {DEMO_SECONDS + SECONDS_PER_SHARD * first.shards:.1f} s",
                flush=True,
            )
            print_cost("demo, all cached", measured(demo, f"{folder}/demo/runs/demo"))
            print(f"  limit of the wall time: {CACHED_SECONDS} s", flush=True)
        for shards in arguments.shards:
            tiny = tiny_run(Path(folder) / str(shards), shards)
            runs = f"{folder}/{shards}/store/runs/tiny"
            print_cost(f"{shards} tiny shards", measured(tiny, runs))
            print_cost(f"{shards} tiny shards, all cached", measured(tiny, runs))
            print(f"  limit of the orchestration with 2000 shards: {TINY_SECONDS} s", flush=True)


def measured(arguments: Sequence[str], run: str) -> Cost:
    """Call `clipes run`, measure its wall time, and read the computing times of its stages from metrics.json."""
    started = time.monotonic()
    command = [Path(sys.executable).with_name("clipes"), "run", *arguments]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    wall = time.monotonic() - started
    stages = json.loads((Path(run) / "metrics.json").read_text())["stages"]
    return Cost(wall, working(stages), sum(stage["shards"] for stage in stages.values()))


def working(stages: dict[str, dict[str, float]]) -> float:
    """Return the mean computing time of the GPU workers or of the CPU workers, whichever is longer [s]."""
    execution = ExecutionConfig()
    workers = {"cpu": len(cpu_slots(execution)), "gpu": len(gpu_slots(ClipConfig(), execution))}
    busy = dict.fromkeys(workers, 0.0)
    for name, stage in stages.items():
        if name in STAGES:
            busy[STAGES[name].workers] += stage["busy_seconds"]
    return max(busy[kind] / workers[kind] for kind in workers)


def tiny_run(folder: Path, shards: int) -> list[str]:
    """Write a data set with one tiny photo per shard, and a config for it. Return the arguments of `clipes run`."""
    folder.mkdir()
    missing, names = set(range(shards)), []
    for name in map(str, count()):
        if not missing:
            break
        if (shard := shard_of(name, shards)) in missing:
            missing.remove(shard)
            names.append(name)
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for name in names:
        Image.fromarray(pixels).save(folder / f"{name}.png")
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "labels"), *((f"{name}.png", "car") for name in names)])
    (folder / "tiny.yaml").write_text(TINY.format(folder=folder, shards=shards))
    return [str(folder / "tiny.yaml"), "--store", str(folder / "store")]


def print_cost(what: str, cost: Cost) -> None:
    """Print the times of a run, and its orchestration per shard."""
    print(
        f"{what}: {cost.wall:.1f} s wall time, {cost.working:.1f} s computing time, {cost.shards} shards, "
        f"{cost.orchestration:.1f} s orchestration ({1000 * cost.orchestration / cost.shards:.0f} ms per shard)",
        flush=True,
    )


if __name__ == "__main__":
    main()
