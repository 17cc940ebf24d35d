"""Compute with flattened values: the values of all photos of a batch in one tensor, photo by photo.

Photos have different numbers of values, for example one per class. `counts` says how many values each photo has.
"""

from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
import torch

from clipes_core.device import upload
from clipes_core.errors import ShapeError


def by_photo(
    values: torch.Tensor, counts: Sequence[int], compute: Callable[[slice, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Apply a function to the values of photos. Neighbouring photos with equally many values are processed together.

    No photo is therefore padded to the largest number of values. If the photos are sorted by their number of values,
    the number of calls is the number of different counts.

    Args:
        values: (S, ...) flattened values.
        counts: B numbers of values, one per photo. Their sum is S.
        compute: gets a slice of the photos and their (b, K, ...) values, and returns (b, K, ...) results.

    Returns:
        (S, ...) flattened results.

    Raises:
        ShapeError: the sum of `counts` is not S.
    """
    _check_counts(values, counts)
    results, photo, value = [], 0, 0
    for count, run in groupby(counts):
        photos = len(list(run))
        own = values[value : value + photos * count].unflatten(0, (photos, count))
        results.append(compute(slice(photo, photo + photos), own).flatten(0, 1))
        photo, value = photo + photos, value + photos * count
    return torch.cat(results)


def means(values: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Average consecutive values: the first `counts[0]` values, then the next `counts[1]`, and so on.

    Args:
        values: (S, ...) float.
        counts: Q numbers, each at least 1. Their sum is S.

    Returns:
        (Q, ...) means, in the dtype of `values`.

    Raises:
        ShapeError: the sum of `counts` is not S.
    """
    _check_counts(values, counts)
    if len(counts) == len(values):
        return values
    lengths = upload(np.asarray(counts), values.device)
    return torch.segment_reduce(values, "mean", lengths=lengths, axis=0, unsafe=True)


def _check_counts(values: torch.Tensor, counts: Sequence[int]) -> None:
    if sum(counts) != len(values):
        raise ShapeError(f"counts must add up to the number of values, {len(values)}, got {list(counts)}")
