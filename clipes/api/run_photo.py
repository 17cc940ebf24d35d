"""One photo of a run, whose results are read from the store when they are used."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from clipes.api.drawing import MaskView
from clipes.tasks.inputs.photos import Photo, load_photo
from clipes.tasks.inputs.pngs import read_png_map
from clipes.tasks.inputs.sources.source import ABSENT
from clipes.tasks.inputs.truth import load_ids
from clipes.tasks.stages.cams import CAMS
from clipes.tasks.stages.columns.cams import stored_cams
from clipes.tasks.stages.mask_scores import CELL_COLUMNS, MASK_SCORES, photo_mious
from clipes.tasks.stages.masks import CAMS_COLUMNS, MASKS
from clipes_core.errors import StageError
from clipes_core.evaluation.scored import PSEUDO_MASK
from clipes_core.pseudo_mask import resize_cams
from clipes_core.vocabulary import Vocabulary

if TYPE_CHECKING:
    from clipes.api.opened_run import Run


class RunPhoto(MaskView):
    """A photo of a run. Its properties read the photo and the results from the store when they are first used.

    A property raises a StageError if the run has no such result for the photo, and a PhotoError or an ArtifactError if
    the file cannot be read. A notebook displays the photo with the mask drawn over it. Two objects are equal if
    they stand for the same photo of the same run.

    Args:
        run: the run.
        photo: the photo, as the run listed it.
        shard: number of the shard of the photo.
    """

    def __init__(self, run: "Run", photo: Photo, shard: int) -> None:
        self._run, self._photo, self._shard = run, photo, shard

    def __repr__(self) -> str:
        return f"RunPhoto({self.id!r}, labels={list(self.labels)}, status={self.status!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunPhoto) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str, str, str]:
        return self._run.store, self._run.name, self.id

    @property
    def id(self) -> str:
        """The id of the photo, which is unique in the run."""
        return self._photo.image_id

    @property
    def uri(self) -> str:
        """The path or URI of the photo."""
        return self._photo.uri

    @property
    def class_ids(self) -> dict[str, int]:
        """Name of each label -> its id in the masks."""
        return {self._run.classes[each - 1]: each for each in self._photo.class_ids}

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes that the photo shows, according to the data set."""
        return tuple(self.class_ids)

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes of the run."""
        return self._run.vocabulary

    @property
    def status(self) -> str:
        """Status of the mask: ok, error (the mask could not be made) or pending (it has not been made yet)."""
        row = self._row(MASKS.name, ("image_id", "status"))
        return "pending" if row is None else str(row["status"])

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons why a person should look at the mask; empty if none is known."""
        found = self._run.checks.get(self.id)
        return tuple(each.text for each in found.reasons) if found else ()

    @cached_property
    def image(self) -> Image.Image:
        """The photo in RGB as clipes read it, whose longer side is at most `dataset.max_side`."""
        return load_photo(self._photo, self._run.config.dataset).image

    @cached_property
    def mask(self) -> np.ndarray:
        """(H, W) uint8 class ids at the size of the photo; 0 is background."""
        return read_png_map(self._result(MASKS.name, "mask", ("mask_png",))["mask_png"])

    @cached_property
    def confidence(self) -> np.ndarray:
        """(H, W) float32, the confidence of each pixel in [0, 1]."""
        row = self._result(MASKS.name, "mask", ("confidence_png",))
        return read_png_map(row["confidence_png"]).astype(np.float32) / 255

    @cached_property
    def cams(self) -> Mapping[str, np.ndarray]:
        """Name of each label -> (H, W) float32 refined CAM, in [0, 1]."""
        row = self._result(CAMS.name, "CAM", CAMS_COLUMNS)
        if not row["class_ids"]:
            return {}
        maps = resize_cams(stored_cams(row, "refined_cam"), (row["height"], row["width"]))
        return dict(zip(self.labels, maps, strict=True))

    @cached_property
    def truth(self) -> np.ndarray | None:
        """(H, W) uint8 true ids, where 255 means unknown; None if the data set has no true mask of the photo."""
        if self._photo.truth_uri is None:
            return None
        return load_ids(self._photo.truth_uri, self._photo.truth_fingerprint or ABSENT)

    @cached_property
    def miou(self) -> float | None:
        """The mIoU of the mask in [0, 1]; None if the run has not compared it with a true mask."""
        row = self._row(MASK_SCORES.name, ("image_id", "status", *CELL_COLUMNS))
        if row is None or row["status"] != "ok":
            return None
        return photo_mious(row, 1 + len(self._run.classes)).get(PSEUDO_MASK.key)

    def _result(self, stage: str, what: str, columns: tuple[str, ...]) -> Mapping[str, Any]:
        """Return the row of the photo in the artifact of a stage."""
        row = self._row(stage, tuple(dict.fromkeys(("image_id", "status", "error", *columns))))
        if row is None:
            raise StageError(f"run {self._run.name} has no {what} of {self.id} yet: run it up to the stage {stage}")
        if row["status"] != "ok":
            raise StageError(f"run {self._run.name} has no {what} of {self.id}: {row['error']}")
        return row

    def _row(self, stage: str, columns: tuple[str, ...]) -> Mapping[str, Any] | None:
        return self._run.row(stage, self._shard, self.id, columns)
