import multiprocessing
from itertools import islice

import pytest
import torch.distributed as dist
from mmengine.runner.loops import _InfiniteDataloaderIterator
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import DataLoader

from clipes.tasks.training.data.sampler import DrawSampler


class Numbers:
    """A data set that gives the draw itself."""

    def __len__(self):
        return 5

    def __getitem__(self, draw):
        return draw


def batches(loader, count):
    return [batch.tolist() for batch in islice(iter(loader), count)]


def test_draws_are_counted_without_end():
    sampler = DrawSampler(Numbers())
    assert list(islice(sampler, 12)) == list(range(12))
    assert list(islice(sampler, 3)) == [0, 1, 2]
    assert len(sampler) == 5


def test_mmengine_can_build_it():
    sampler = DATA_SAMPLERS.build({"type": "DrawSampler"}, default_args={"dataset": Numbers(), "seed": 9})
    assert list(islice(sampler, 2)) == [0, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loop_of_mmengine_resumes_at_an_iteration(workers):
    whole = batches(DataLoader(Numbers(), 3, sampler=DrawSampler(Numbers())), 6)
    resumed = _InfiniteDataloaderIterator(DataLoader(Numbers(), 3, sampler=DrawSampler(Numbers()), num_workers=workers))
    resumed.skip_iter(4)
    assert [next(resumed).tolist() for _ in range(2)] == whole[4:] == [[12, 13, 14], [15, 16, 17]]


def test_a_negative_number_of_samples_cannot_be_skipped():
    with pytest.raises(ValueError, match="num_samples must be at least 0, got -1"):
        DrawSampler(Numbers()).skip(-1)


def take(rank, folder, results):
    """Two steps from iteration 3 on, of one of two processes."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    loader = _InfiniteDataloaderIterator(DataLoader(Numbers(), 2, sampler=DrawSampler(Numbers())))
    loader.skip_iter(3)
    results.put([next(loader).tolist() for _ in range(2)])
    dist.barrier()  # a process that leaves early closes connections that the other may still be making
    dist.destroy_process_group()


def test_two_processes_together_load_what_one_loads(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=take, args=(rank, tmp_path, results)) for rank in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()

    alone = batches(DataLoader(Numbers(), 4, sampler=DrawSampler(Numbers())), 5)[3:]
    assert [sorted(one + other) for one, other in zip(*found, strict=True)] == alone
