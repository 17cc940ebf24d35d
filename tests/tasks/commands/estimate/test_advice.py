from dataclasses import replace

from clipes.tasks.commands.estimate.advice import advice
from clipes.tasks.commands.estimate.forecast import Machines, Measurement, StageCost, Work, forecast
from clipes_core.config.run import RunConfig

CAMS = StageCost("cams", False, 0.05, gpu_seconds=0.05, cpu_seconds=0.01, stored_bytes=9_000, peak_memory_mib=2_000)
MASKS = StageCost("masks", False, 0.5, gpu_seconds=0, cpu_seconds=0.4, stored_bytes=36_000, peak_memory_mib=300)
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


def test_a_single_gpu_is_named_as_one():
    (line,) = advised(CAMS, MASKS, machines=Machines(1, 2))
    assert "One GPU keeps 9 cores busy" in line


def test_cores_are_never_idle_for_less_than_no_time():
    """The GPUs take longer after the training, and the cores before it."""
    scores = StageCost("segmenter_scores", True, 1.0, 1.0, 0.02, 1_000, 1_500)
    work = Work(1_000, 10, evaluated=1_000)
    (line,) = advised(
        replace(CAMS, gpu_seconds=0.4), replace(MASKS, cpu_seconds=0.9), scores, machines=Machines(1, 1), work=work
    )
    assert line.startswith("bottleneck: the GPUs. The cores are idle for 51% of the time.")


def test_without_a_gpu_the_busiest_stage_is_named():
    on_cpu = replace(CAMS, gpu_seconds=0, cpu_seconds=0.9)
    (line,) = advised(on_cpu, MASKS, machines=Machines(0, 2))
    assert line.startswith("bottleneck: the processor cores, most of all for cams: use more cores or a GPU")


def test_shards_that_may_exceed_the_time_limit_are_reported_once_with_what_suffices_for_all_stages():
    slow = replace(CAMS, seconds=0.1)
    _, line = advised(slow, MASKS, machines=Machines(8, 66), work=Work(2_000_000, 32))
    assert line.startswith("masks: the largest shard has 62500 photos and takes about 31250 s at 0.5 s per photo")
    assert "(measured on the sample), but execution.shard_timeout_s is 3600 s" in line
    shards, seconds = (int(setting.partition("=")[2]) for setting in line.rpartition("set ")[2].split(" or "))
    assert len(advised(slow, MASKS, machines=Machines(8, 66), work=Work(2_000_000, shards))) == 1
    raised = {"shard_timeout_s": seconds}
    assert len(advised(slow, MASKS, machines=Machines(8, 66), work=Work(2_000_000, 32), **raised)) == 1


def test_the_photos_of_the_evaluation_are_compared_with_the_time_limit_by_their_own_number():
    scores = StageCost("segmenter_scores", True, 3.0, 3.0, 0.02, 1_000, 1_500)
    assert len(advised(CAMS, scores, machines=Machines(8, 66), work=Work(2_000_000, 2_000, 1_449))) == 1
    _, line = advised(CAMS, scores, machines=Machines(8, 66), work=Work(2_000_000, 2_000, 2_000_000))
    assert line.startswith("segmenter_scores: the largest shard has 1000 photos and takes about 3000 s")
