from dataclasses import replace

import pytest

from clipes.tasks.commands.estimate.forecast import (
    ORCHESTRATION_S,
    Machines,
    Measurement,
    StageCost,
    TrainingCost,
    Work,
    forecast,
    requested_machines,
)
from clipes_core.config.execution import ExecutionConfig

CAMS = StageCost(
    "cams", "gpu", False, 0.05, gpu_seconds=0.05, cpu_seconds=0.01, stored_bytes=9_000, peak_memory_mib=2_000
)
MASKS = StageCost("masks", "cpu", False, 0.5, gpu_seconds=0, cpu_seconds=0.4, stored_bytes=36_000, peak_memory_mib=300)
SCORES = StageCost("segmenter_scores", "gpu", True, 0.1, 0.1, 0.02, 1_000, 1_500)
TRAINING = TrainingCost(0.2, validation_seconds=0.03, checkpoint_seconds=0.5, processes=1, peak_memory_mib=900)
SAMPLE = Work(photos=20, shards=4)
ONE_GPU = Machines(gpus=1, cores=4)


def measured(*stages, machines=ONE_GPU, wall_seconds=10.0, training=None, work=SAMPLE):
    return Measurement(work, machines, wall_seconds, stages, training)


def test_the_sample_itself_is_forecast_exactly():
    costs = measured(
        CAMS, MASKS, training=TRAINING, work=Work(20, 4, iterations=20, validated=5, checkpoints=2), wall_seconds=30.0
    )
    assert forecast(costs, costs.work, costs.machines).wall_seconds == pytest.approx(30.0)


def test_hours_and_bytes_grow_with_the_photos():
    costs = measured(CAMS, MASKS)
    few, many = (forecast(costs, Work(photos, 10), ONE_GPU) for photos in (1_000, 1_000_000))
    assert few.gpu_seconds == pytest.approx(50)
    assert few.core_seconds == pytest.approx(410)
    assert few.stored_bytes == pytest.approx(45e6)
    for value in ("gpu_seconds", "core_seconds", "stored_bytes"):
        assert getattr(many, value) == pytest.approx(1_000 * getattr(few, value))
    assert many.head_bytes > few.head_bytes
    assert many.traffic_bytes > few.traffic_bytes


def test_gpus_and_cores_work_at_the_same_time():
    costs = measured(CAMS, MASKS, wall_seconds=0.0)
    work = Work(100_000, 100)
    start = 2 * 100 * ORCHESTRATION_S
    slow_cores = forecast(costs, work, Machines(gpus=8, cores=8))
    assert slow_cores.bottleneck == "cores"
    assert slow_cores.wall_seconds == pytest.approx(100_000 * 0.41 / 8 + start)
    many_cores = forecast(costs, work, Machines(gpus=8, cores=256))
    assert many_cores.bottleneck == "gpus"
    assert many_cores.wall_seconds == pytest.approx(100_000 * 0.05 / 8 + start)


def test_without_a_gpu_all_stages_share_the_cores():
    on_cpu = StageCost("cams", "gpu", False, 1.0, 0.0, 0.9, 9_000, 2_000)
    costs = measured(on_cpu, MASKS, machines=Machines(0, 2), wall_seconds=0.0)
    found = forecast(costs, Work(1_000, 32), Machines(0, 2))
    assert found.gpu_seconds == 0
    assert found.wall_seconds == pytest.approx(1_000 * 1.3 / 2 + 2 * 32 * ORCHESTRATION_S)


def test_without_a_gpu_few_workers_for_networks_decide_even_if_there_are_many_cores():
    on_cpu = replace(CAMS, seconds=1.1, gpu_seconds=0, cpu_seconds=0.9)
    costs = measured(on_cpu, MASKS, machines=Machines(0, 8, 2, 8), wall_seconds=0.0)
    work, start = Work(1_000, 32), 2 * 32 * ORCHESTRATION_S
    few, enough = (forecast(costs, work, Machines(0, 8, gpu_workers, 8)) for gpu_workers in (2, 8))
    assert (few.bottleneck, enough.bottleneck) == ("gpu_workers", "cores")
    assert few.wall_seconds == pytest.approx(1_000 * 0.9 / 2 + start)
    assert enough.wall_seconds == pytest.approx(1_000 * 1.3 / 8 + start)


@pytest.mark.parametrize(
    ("execution", "requested", "machines"),
    [
        ({}, (None, None), Machines(0, 8, 2, 8)),
        ({}, (None, 64), Machines(0, 64, 16, 64)),
        ({}, (None, 1), Machines(0, 1, 1, 1)),
        ({"gpu_workers": 2}, (None, 64), Machines(0, 64, 2, 64)),
        ({"cpu_workers": 8}, (4, 64), Machines(4, 64, 16, 8)),
    ],
)
def test_the_workers_of_other_machines_grow_with_the_cores_unless_the_config_states_them(
    execution, requested, machines
):
    assert requested_machines(Machines(0, 8, 2, 8), ExecutionConfig(**execution), *requested) == machines


def test_stages_of_one_kind_share_its_workers():
    costs = measured(CAMS, MASKS, replace(MASKS, stage="mask_scores", seconds=0.1, cpu_seconds=0.1), wall_seconds=0.0)
    found = forecast(costs, Work(1_000, 32), Machines(1, 64, 1, 3))
    assert found.bottleneck == "cpu_workers"
    assert found.stages_seconds == pytest.approx(1_000 * 0.5 / 3)


def test_a_worker_with_several_threads_is_no_faster_than_in_the_sample():
    threads = replace(CAMS, seconds=0.5, gpu_seconds=0, cpu_seconds=1.2)  # of four threads
    found = forecast(measured(threads, wall_seconds=0.0), Work(1_000, 32), Machines(0, 4, 1, 4))
    assert found.bottleneck == "gpu_workers"
    assert found.stages_seconds == pytest.approx(1_000 * 0.5)


def test_other_programs_that_slow_down_the_sample_do_not_make_the_workers_too_few():
    slowed = replace(CAMS, seconds=2.0, gpu_seconds=0, cpu_seconds=0.5)
    found = forecast(measured(slowed, wall_seconds=0.0), Work(1_000, 32), Machines(0, 4, 4, 4))
    assert found.bottleneck == "cores"
    assert found.stages_seconds == pytest.approx(1_000 * 0.5 / 4)


def test_the_start_of_the_program_does_not_grow():
    costs = measured(CAMS, MASKS, wall_seconds=100.0)
    explained = 20 * 0.41 / 4
    more = forecast(costs, Work(20_000, 4), ONE_GPU)
    assert more.wall_seconds == pytest.approx(100 - max(explained, 20 * 0.05) + 20_000 * 0.41 / 4)


def test_a_short_run_is_dominated_by_the_start():
    assert forecast(measured(CAMS, MASKS, wall_seconds=60.0), SAMPLE, ONE_GPU).bottleneck == "start"


def test_the_training_shrinks_with_its_processes_but_not_its_validations_and_checkpoints():
    costs = measured(CAMS, training=TRAINING)
    works = [Work(20, 4, 0, 1_000, validated=100, checkpoints=20, processes=processes) for processes in (1, 4)]
    on_one, on_four = (forecast(costs, work, ONE_GPU) for work in works)
    assert on_one.training_seconds == pytest.approx(200 + 3 + 10)
    assert on_four.training_seconds == pytest.approx(50 + 3 + 10)
    assert forecast(costs, works[0], Machines(1, 64)).training_seconds == on_one.training_seconds
    assert on_one.bottleneck == "training"


def test_scores_of_the_segmenter_count_its_own_photos():
    found = forecast(measured(CAMS, SCORES), Work(1_000, 10, evaluated=50), ONE_GPU)
    assert found.gpu_seconds == pytest.approx(1_000 * 0.05 + 50 * 0.1)


def test_the_scores_of_the_segmenter_wait_for_the_masks_and_the_training():
    costs = measured(CAMS, MASKS, SCORES, wall_seconds=0.0)
    work = Work(1_000, 10, evaluated=500)
    found = forecast(costs, work, Machines(gpus=1, cores=4))
    assert found.stages_seconds == pytest.approx(1_000 * 0.41 / 4 + 500 * 0.1)  # masks take longer than CAMs
    assert found.wall_seconds == pytest.approx(found.stages_seconds + 3 * 10 * ORCHESTRATION_S)


def test_workers_that_share_a_gpu_count_as_one_gpu():
    alone, shared = measured(CAMS), measured(replace(CAMS, seconds=0.1))  # two workers, each half as fast
    work = Work(100_000, 100)
    assert forecast(alone, work, ONE_GPU) == forecast(shared, work, ONE_GPU)
