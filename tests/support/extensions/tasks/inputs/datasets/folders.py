"""Format folders: each class has a folder, which has the name of the class and holds its photos."""

from collections.abc import Iterator

from clipes.tasks.inputs.datasets.dataset_format import DatasetFormat
from clipes.tasks.inputs.datasets.entries import Entry
from clipes.tasks.inputs.photos import Reject
from clipes.tasks.storage.user_files import join, list_names
from clipes_core.config.dataset import DatasetConfig
from clipes_core.vocabulary import Vocabulary


def _read(config: DatasetConfig, vocabulary: Vocabulary) -> Iterator[Entry | Reject]:
    root = str(config.root)
    for class_id, entry in enumerate(vocabulary.classes, start=1):
        folder = join(root, entry.name)
        for name in list_names(folder) or ():
            yield Entry(f"{entry.name}/{name.rpartition('.')[0]}", (join(folder, name),), (class_id,))


FORMAT = DatasetFormat("folders", _read)
