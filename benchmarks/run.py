"""Measure whole runs: how fast commands answer, what a cached rerun costs, and how the stages of a run overlap.

    python benchmarks/run.py [--rounds 3] [--train] [--shards 2000] [--json FILE]

Every measurement is the wall time of a `clipes` command with its own Prefect server and store. The commands are

- `plan`: `clipes run configs/demo.yaml --plan`, with all artifacts in the store,
- `plan of 10000 photos`: the same with 10,000 tiny photos, with an empty store,
- `cached, server running`: the demo again, with all artifacts in the store and a Prefect server that is running,
- `cached, starts a server`: the same, but the command has to start the server,
- `masks`: the demo up to the scores of its masks, with an empty store; a server is running.

The commands take turns, so that changes in the speed of the machine affect all of them. `--train` includes the whole
training of the demo, which takes minutes; without it, the demo trains for a few iterations only.

For each run of `masks`, the benchmark adds up how long the workers of each stage were busy, and divides the sum by the
number of these workers. If the stages did not overlap, the run would take at least as long as all stages together. If
they overlapped completely, it would take as long as the longest stage. The wall time minus the time of a cached rerun
lies between both. `--shards` measures data sets with one tiny photo per shard: what remains of the wall time after the
longest stage is subtracted is the cost of the orchestration.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
from paired import write_json
from PIL import Image

from clipes.tasks.machine.devices import cpu_slots, gpu_slots
from clipes.tasks.plan.sharding import shard_of
from clipes.tasks.stages.registry import STAGES
from clipes_core.config.execution import ExecutionConfig
from clipes_core.config.pseudo_masks import ClipConfig

ROOT = Path(__file__).parents[1]
SHORT_TRAINING = ("train.iterations=4", "train.validate_every=0")
MANY_PHOTOS = 10_000
SETTLING_SECONDS = 10  # a server that answers goes on starting its services
PACKAGES = ("prefect", "torch", "numba")
TINY = """
name: tiny
dataset: {{format: list, root: {folder}, split: {folder}/list.csv, classes: scenes}}
clip: {{model: clipes-demo, pretrained: clipes-demo}}
crf: {{enabled: false}}
train: {{enabled: false}}
execution: {{shards: {shards}, shard_timeout_s: 600}}
"""


@dataclass
class Times:
    """The wall times of a command [s].

    Attributes:
        limit: the time that the command must not exceed on two idle cores.
        wall: one wall time per round.
    """

    limit: float
    wall: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Busy:
    """How long the workers of a run were busy.

    Attributes:
        wall: wall time of the command [s].
        stages: stage -> busy time of all its workers, divided by their number [s].
        shards: number of shards of all stages.
    """

    wall: float
    stages: dict[str, float]
    shards: int

    @property
    def longest(self) -> float:
        """The busy time of the GPU workers or of the CPU workers, whichever is longer [s]."""
        kinds = dict.fromkeys(("cpu", "gpu"), 0.0)
        for stage, seconds in self.stages.items():
            kinds[STAGES[stage].workers] += seconds
        return max(kinds.values())

    @property
    def orchestration(self) -> float:
        """The part of the wall time in which the workers that are busy longest do nothing [s]."""
        return self.wall - self.longest


def main() -> None:
    """Measure all commands, and print their times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", action="store_true", help="train the demo's segmenter completely")
    parser.add_argument("--shards", type=int, nargs="*", default=[], help="number of shards of tiny data sets")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PREFECT_HOME"] = str(folder / "prefect")
        training = () if arguments.train else SHORT_TRAINING
        demo = ["configs/demo.yaml", *(part for setting in training for part in ("--set", setting))]
        commands, runs = measure_commands(folder, demo, arguments.rounds)
        print_times(commands)
        print_overlap(runs, float(np.median(commands["cached, server running"].wall)))
        tiny = {f"{shards} tiny shards": measure_tiny(folder / str(shards), shards) for shards in arguments.shards}
        for what, run in tiny.items():
            print(
                f"{what}: {run.wall:.1f} s, {1000 * run.orchestration / run.shards:.0f} ms per shard of orchestration"
            )
    if arguments.json:
        measured = {what: asdict(times) for what, times in commands.items()}
        busy = {"masks": [asdict(run) for run in runs], **{what: asdict(run) for what, run in tiny.items()}}
        write_json(arguments.json, PACKAGES, {"commands": measured, "busy": busy})


def measure_commands(folder: Path, demo: Sequence[str], rounds: int) -> tuple[dict[str, Times], list[Busy]]:
    """Measure all commands in turn, after one run that fills the demo's store."""
    cached = [*demo, "--store", f"{folder}/demo"]
    many = write_tiny(folder / "many", [f"{index}" for index in range(MANY_PHOTOS)], shards=32)
    times = {
        "plan": Times(2.5),
        f"plan of {MANY_PHOTOS} photos": Times(4),
        "cached, server running": Times(5),
        "cached, starts a server": Times(9),
        "masks": Times(25),
    }
    runs = []
    clipes_run(cached)
    for turn in range(rounds):
        times["plan"].wall.append(clipes_run([*cached, "--plan"]))
        times[f"plan of {MANY_PHOTOS} photos"].wall.append(clipes_run([*many, "--plan"]))
        times["cached, starts a server"].wall.append(clipes_run(cached))
        with running_server():
            times["cached, server running"].wall.append(clipes_run(cached))
            fresh = folder / f"fresh-{turn}"
            wall = clipes_run([*demo, "--store", str(fresh), "--until", "mask_scores"])
            times["masks"].wall.append(wall)
            runs.append(busy_times(wall, fresh / "runs" / "demo"))
    return times, runs


def clipes_run(arguments: Sequence[str]) -> float:
    """Call `clipes run`, and return its wall time [s]."""
    started = time.monotonic()
    subprocess.run([clipes(), "run", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


@contextmanager
def running_server() -> Iterator[None]:
    """Keep the Prefect server of `PREFECT_HOME` running while the block runs."""
    process = subprocess.Popen([clipes(), "ui"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        process.stdout.readline()  # `clipes ui` prints the URL as soon as the server answers
        time.sleep(SETTLING_SECONDS)
        yield
    finally:
        process.terminate()
        process.wait()


def clipes() -> str:
    """Return the path of the command `clipes` of this environment."""
    return str(Path(sys.executable).with_name("clipes"))


def busy_times(wall: float, run: Path) -> Busy:
    """Read from metrics.json how long the workers of each stage were busy."""
    execution = ExecutionConfig()
    workers = {"cpu": len(cpu_slots(execution)), "gpu": len(gpu_slots(ClipConfig(), execution))}
    stages = json.loads((run / "metrics.json").read_text())["stages"]
    own = {name: stage for name, stage in stages.items() if name in STAGES}
    seconds = {name: stage["busy_seconds"] / workers[STAGES[name].workers] for name, stage in own.items()}
    return Busy(wall, seconds, sum(stage["shards"] for stage in stages.values()))


def measure_tiny(folder: Path, shards: int) -> Busy:
    """Run a data set that has one tiny photo per shard."""
    missing, names = set(range(shards)), []
    for name in map(str, count()):
        if not missing:
            break
        if (shard := shard_of(name, shards)) in missing:
            missing.remove(shard)
            names.append(name)
    wall = clipes_run(write_tiny(folder, names, shards))
    return busy_times(wall, folder / "store" / "runs" / "tiny")


def write_tiny(folder: Path, names: Sequence[str], shards: int) -> list[str]:
    """Write a data set of tiny photos, and a config for it. Return the arguments of `clipes run`."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for name in names:
        Image.fromarray(pixels).save(folder / f"{name}.png")
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "labels"), *((f"{name}.png", "car") for name in names)])
    (folder / "tiny.yaml").write_text(TINY.format(folder=folder, shards=shards))
    return [str(folder / "tiny.yaml"), "--store", str(folder / "store")]


def print_times(commands: dict[str, Times]) -> None:
    """Print the median and the range of the wall times of each command, and its limit."""
    for what, times in commands.items():
        wall = f"{np.median(times.wall):6.2f} s [{min(times.wall):.2f}-{max(times.wall):.2f}]"
        print(f"{what:24} {wall}   limit on two idle cores: {times.limit:g} s", flush=True)


def print_overlap(runs: Sequence[Busy], cached_s: float) -> None:
    """Print how long the stages took, alone and together."""
    for stage in runs[0].stages:
        print(f"  {stage:22} {np.median([run.stages[stage] for run in runs]):6.2f} s of each of its workers")
    together, longest, all_stages = (
        np.median(values)
        for values in zip(*((run.wall - cached_s, run.longest, sum(run.stages.values())) for run in runs), strict=True)
    )
    print(
        f"  all stages one after the other {all_stages:.2f} s, the longest alone {longest:.2f} s, "
        f"the run without a cached rerun {together:.2f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
