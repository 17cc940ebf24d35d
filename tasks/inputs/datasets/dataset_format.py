"""The description of a data set format: its name, its reader, and the config keys that it needs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clipes.tasks.inputs.datasets.entries import Entry, Remark
from clipes.tasks.inputs.photos import Reject
from clipes_core.config.dataset import DatasetConfig
from clipes_core.vocabulary import Vocabulary

Reader = Callable[[DatasetConfig, Vocabulary], Iterator[Entry | Reject | Remark]]


@dataclass(frozen=True)
class DatasetFormat:
    """A data set format: a layout of photos and labels.

    Attributes:
        name: value of `dataset.format` that selects this format.
        read: function that yields one `Entry` or `Reject` for each photo in `dataset.split`, in the order of the split.
            It may also yield remarks about the data set.
        read_unlabelled: function like `read` that accepts photos without labels. It lists the photos on which the
            segmenter is scored. None if no such function is needed, because `read` accepts photos without labels.
        check_split: function that quickly checks that the file of `dataset.split` exists, before a run starts a server.
            It raises the errors of `read`. None if the split has no file that must exist.
        needs_root: true if `dataset.root` must be set.
        folder_in_store: name of a folder in the store. This folder is the default of `dataset.root`. None if
            `dataset.root` has no default.
        split_is_a_path: true if `dataset.split` is always a path or URI, never the name of a split.
    """

    name: str
    read: Reader
    read_unlabelled: Reader | None = None
    check_split: Callable[[DatasetConfig], None] | None = None
    needs_root: bool = True
    folder_in_store: str | None = None
    split_is_a_path: bool = False
