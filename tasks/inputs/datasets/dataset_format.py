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
    """A way to lay out photos and labels.

    Attributes:
        name: the value of `dataset.format`.
        read: yields one entry or reject per photo that `dataset.split` lists, in its order.
        read_unlabelled: replaces `read` for photos that are only scored, whose labels may be missing; None: `read`
            serves both.
        needs_root: whether `dataset.root` must be set.
        folder_in_store: replaces a `dataset.root` that is not set; None: nothing replaces it.
        split_is_a_path: whether `dataset.split` is always a path or URI, never the name of a split.
    """

    name: str
    read: Reader
    read_unlabelled: Reader | None = None
    needs_root: bool = True
    folder_in_store: str | None = None
    split_is_a_path: bool = False
