import multiprocessing
from itertools import islice

import pytest
import torch.distributed as dist
from mmengine.runner.loops import _InfiniteDataloaderIterator
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import DataLoader

from clipes.tasks.training.data.sampler import DrawSampler


class Numbers:
    """A data set whose items are the draw numbers."""

    def __len__(self):
        return 5

    def __getitem__(self, draw):
        return draw


def batches(loader, count):
    return [batch.tolist() for batch in islice(iter(loader), count)]


def test_draw_numbers_continue_without_end():
    sampler = DrawSampler(Numbers())
    assert list(islice(sampler, 12)) == list(range(12))
    assert list(islice(sampler, 3)) == [0, 1, 2]
    assert len(sampler) == 5


def test_mmengine_can_build_the_sampler():
    sampler = DATA_SAMPLERS.build({"type": "DrawSampler"}, default_args={"dataset": Numbers(), "seed": 9})
    assert list(islice(sampler, 2)) == [0, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_training_loop_of_mmengine_can_resume_at_an_iteration(workers):
    whole = batches(DataLoader(Numbers(), 3, sampler=DrawSampler(Numbers())), 6)
    resumed = _InfiniteDataloaderIterator(DataLoader(Numbers(), 3, sampler=DrawSampler(Numbers()), num_workers=workers))
    resumed.skip_iter(4)
    assert [next(resumed).tolist() for _ in range(2)] == whole[4:] == [[12, 13, 14], [15, 16, 17]]


def test_a_negative_number_of_samples_cannot_be_skipped():
    with pytest.raises(ValueError, match="num_samples must be at least 0, got -1"):
        DrawSampler(Numbers()).skip(-1)


def load_two_batches(rank, folder, results):
    """Load two batches from iteration 3 on, as one of two processes."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    loader = _InfiniteDataloaderIterator(DataLoader(Numbers(), 2, sampler=DrawSampler(Numbers())))
    loader.skip_iter(3)
    results.put([next(loader).tolist() for _ in range(2)])
    dist.barrier()  # if one process exits early, it breaks the connection that the other may still be setting up
    dist.destroy_process_group()


def test_two_processes_load_the_same_samples_as_one(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=load_two_batches, args=(rank, tmp_path, results)) for rank in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()

    alone = batches(DataLoader(Numbers(), 4, sampler=DrawSampler(Numbers())), 5)[3:]
    assert [sorted(one + other) for one, other in zip(*found, strict=True)] == alone
