from dataclasses import replace

from clipes.tasks.commands.estimate.advice import advice
from clipes.tasks.commands.estimate.forecast import Machines, Measurement, StageCost, Work, forecast
from clipes_core.config.run import RunConfig

CAMS = StageCost("cams", True, False, seconds=0.05, cpu_seconds=0.01, stored_bytes=9_000, peak_memory_mib=2_000)
MASKS = StageCost("masks", False, False, seconds=0.5, cpu_seconds=0.4, stored_bytes=36_000, peak_memory_mib=300)
MANY = Work(100_000, 1_000)


def advised(*stages, machines, work=MANY, **execution):
    costs = Measurement(Work(20, 4), Machines(1, 4), 0.0, stages, None)
    config = RunConfig(name="a", execution=execution)
    return list(advice(config, costs, work, machines, forecast(costs, work, machines)))


def test_too_few_cores_are_named_with_the_number_that_suffices():
    (line,) = advised(CAMS, MASKS, machines=Machines(8, 8))
    assert line.startswith("bottleneck: the processor cores, most of all for masks. 8 GPUs keep 66 cores busy")
    (line,) = advised(CAMS, MASKS, machines=Machines(8, 66))
    assert line.startswith("bottleneck: the GPUs. The cores are idle for 1% of the time.")


def test_without_a_gpu_the_busiest_stage_is_named():
    on_cpu = replace(CAMS, on_gpu=False, cpu_seconds=0.9)
    (line,) = advised(on_cpu, MASKS, machines=Machines(0, 2))
    assert line.startswith("bottleneck: the processor cores, most of all for cams: use more cores or a GPU")


def test_shards_that_take_too_long_are_named_with_a_number_that_suffices():
    _, line = advised(CAMS, MASKS, machines=Machines(8, 66), work=Work(2_000_000, 32))
    assert "a shard of masks takes about 31250 s, but execution.shard_timeout_s is 3600: set execution.shards" in line
    enough = int(line.partition("at least ")[2].partition(",")[0])
    work = Work(2_000_000, enough)
    assert len(advised(CAMS, MASKS, machines=Machines(8, 66), work=work)) == 1
