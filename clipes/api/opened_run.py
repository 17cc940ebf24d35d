"""A run whose results are read from its store."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from typing_extensions import override

from clipes.api.run_photo import RunPhoto
from clipes.api.run_table import run_table
from clipes.tasks.inputs.locations import checked_location
from clipes.tasks.inputs.photos import Photo
from clipes.tasks.runs.photos_to_check import PhotoToCheck, read_photos_to_check
from clipes.tasks.storage.layout import MANIFEST_FILE, REPORT_FILE, row_uri_in
from clipes.tasks.storage.parquet.reading import read_table, rows_of
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import RunStatus, read_run, recorded_vocabulary
from clipes.tasks.storage.user_files import absolute
from clipes_core.config.run import RunConfig, parse_config
from clipes_core.evaluation.scored import SCORED

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("image_id", "uri", "size_bytes", "fingerprint", "class_ids", "truth_uri", "truth_fingerprint", "shard")


def open_run(name: str, store: str | os.PathLike[str] = "./clipes-store") -> "Run":
    """Open a run as it is now; call the function again to see the progress of a run.

    Args:
        name: name of the run.
        store: path or URI of the store.

    Raises:
        UsageError: the store has no run of this name, or an earlier version of clipes wrote it.
        StorageError: the store refuses access.
    """
    place = absolute(checked_location(os.fspath(store), "store"))
    return Run(place, read_run(place, name))


class Run(Sequence[RunPhoto]):
    """A run: a sequence of its photos, which have the masks; a photo can also be found by its id.

    Results are read from the store when they are used, and only as far as necessary. Photos that the run could not list
    are not in the sequence; the file rejects.parquet in the folder of the run names them.

    Args:
        store: absolute path or URI of the store.
        status: content of the files of the run.
    """

    def __init__(self, store: str, status: RunStatus) -> None:
        self.vocabulary = recorded_vocabulary(status.run)
        self._status, self._files = status, RunFiles(store, status.run["name"])

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {len(self)} photos, status={self.status!r})"

    @property
    def name(self) -> str:
        """The name of the run."""
        return str(self._status.run["name"])

    @property
    def store(self) -> str:
        """The absolute path or URI of the store."""
        return self._files.store_uri

    @property
    def status(self) -> str:
        """The state of the run when it was opened: running, interrupted, completed, failed or cancelled."""
        return self._status.state

    @property
    def report(self) -> str:
        """The path or URI of report.html."""
        return self._files.uri(REPORT_FILE)

    @cached_property
    def config(self) -> RunConfig:
        """All settings of the run."""
        return parse_config(self._status.run["config"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their ids, which start at 1."""
        return tuple(self.vocabulary.ids)

    @property
    def scores(self) -> dict[str, dict[str, Any]]:
        """Kind of prediction -> its scores, such as `miou` and `class_iou`; empty before the end of the run.

        The kinds are centre_box (the baseline), initial_cam, refined_cam, pseudo_mask and segmenter. A run without true
        masks has none. Scores are in [0, 1].
        """
        found = self._status.metrics or {}
        return {kind.key: dict(found[kind.key]) for kind in SCORED if kind.key in found}

    @cached_property
    def checks(self) -> dict[str, PhotoToCheck]:
        """Id of a photo -> the reasons why a person should look at its mask, the worst photo first."""
        return {photo.image_id: photo for photo in read_photos_to_check(self._status, self._files)}

    @property
    def to_check(self) -> list[RunPhoto]:
        """The photos whose masks are probably wrong, the worst first. They are found without true masks."""
        return [self[image_id] for image_id in self.checks]

    @property
    def ids(self) -> list[str]:
        """The ids of all photos, in the order of the sequence."""
        return list(self._places)

    @override
    def __len__(self) -> int:
        return len(self.listed)

    @override
    def __contains__(self, value: object) -> bool:
        if isinstance(value, str):
            return value in self._places
        return isinstance(value, RunPhoto) and value.id in self._places and value == self[value.id]

    @overload
    def __getitem__(self, place: int | str) -> RunPhoto: ...
    @overload
    def __getitem__(self, place: slice) -> list[RunPhoto]: ...
    @override
    def __getitem__(self, place: int | str | slice) -> RunPhoto | list[RunPhoto]:
        """Return the photo at a position or with an id, or a list of the photos of a slice."""
        if isinstance(place, slice):
            return [self._photo(each) for each in range(len(self))[place]]
        if not isinstance(place, str):
            return self._photo(range(len(self))[place])
        return self._photo(self._places[place])

    @override
    def __iter__(self) -> Iterator[RunPhoto]:
        return map(self._photo, range(len(self)))

    def artifacts(self, stage: str) -> tuple[str, ...]:
        """Return the URIs of the Parquet files that a stage has made so far."""
        return self._status.artifacts(stage)

    def row(self, stage: str, shard: int, image_id: str, columns: Sequence[str]) -> Mapping[str, Any] | None:
        """Read the row of a photo in the artifact of a stage; return None if the shard has no artifact yet.

        Raises:
            ArtifactError: the artifact cannot be read.
        """
        uri = self._status.made(stage).get(shard)
        rows = () if uri is None else rows_of(read_table(uri, columns, image_ids=[image_id]))
        return next(iter(rows), None)

    def to_pandas(self) -> "pd.DataFrame":
        """Return a table with one row per photo, in the order of the sequence.

        Returns:
            The columns id, uri, labels (a tuple of names), status (of the mask: ok, error or pending), error (why there
            is no mask), confidence (mean over the pixels), foreground (share of the pixels that are not background),
            miou (if there is a true mask), reasons (why to check the mask) and severity (of the reasons). Numbers other
            than the severity are in [0, 1]; missing values are NaN.

        Raises:
            ConfigError: pandas is not installed.
            ArtifactError: an artifact cannot be read.
        """
        return run_table(self)

    @cached_property
    def listed(self) -> Any:
        """The rows of manifest.parquet, which lists the photos, as an Arrow table."""
        return self._files.read_table(MANIFEST_FILE, COLUMNS)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {image_id: place for place, image_id in enumerate(self.listed["image_id"].to_pylist())}

    def _photo(self, place: int) -> RunPhoto:
        (row,) = self.listed.slice(place, 1).to_pylist()
        shard, row["truth_uri"] = row.pop("shard"), row_uri_in(self._files.store_uri, row["truth_uri"])
        return RunPhoto(self, Photo(**{**row, "class_ids": tuple(row["class_ids"])}), shard)
