"""Samples of a training set, as a data loader reads them."""

import numpy as np
from torch.utils.data import DataLoader

from clipes.tasks.training.data.sampler import DrawSampler

RANDOM = [
    {
        "type": "RandomChoice",
        "transforms": [[{"type": "Resize", "scale_factor": 1.5}], [{"type": "RandomRotate", "prob": 1.0, "degree": 9}]],
    },
    {"type": "RandomCrop", "crop_size": (16, 16)},
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "PhotoMetricDistortion"},
]


def samples(dataset, draws, workers=0, skipped=0):
    """Return the samples of the first `draws` draws after `skipped` draws."""
    sampler = DrawSampler(dataset)
    sampler.skip(skipped)
    loader = DataLoader(dataset, sampler=sampler, num_workers=workers, collate_fn=list)
    return [sample for _, (sample,) in zip(range(draws), loader, strict=False)]


def same(one, other):
    """Return whether two samples have the same photo, labels and confidence."""
    return all(np.array_equal(one[key], other[key]) for key in ("img", "gt_seg_map", "gt_confidence", "image_id"))
