"""The declaration of a data set format."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clipes.tasks.inputs.datasets.entries import Entry
from clipes.tasks.inputs.photos import Reject
from clipes_core.config.run import DatasetConfig
from clipes_core.vocabulary import Vocabulary

Reader = Callable[[DatasetConfig, Vocabulary], Iterator[Entry | Reject]]


@dataclass(frozen=True)
class DatasetFormat:
    """A layout of photos and labels, and how to read it.

    Attributes:
        name: the value of `dataset.format`.
        read: function that yields one entry or reject for each photo in `dataset.split`, in the order of the split.
        read_unlabelled: like `read`, for photos that are only scored and therefore need no labels; None if `read` can
            list such photos too.
        needs_root: whether `dataset.root` must be set.
        folder_in_store: folder in the store that is used if `dataset.root` is not set; None if there is no default.
        split_is_a_path: whether `dataset.split` is always a path or URI, never the name of a split.
    """

    name: str
    read: Reader
    read_unlabelled: Reader | None = None
    needs_root: bool = True
    folder_in_store: str | None = None
    split_is_a_path: bool = False
