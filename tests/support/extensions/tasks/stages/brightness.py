"""Stage brightness: the mean brightness of the object pixels in the mask of each photo."""

import io
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import override

from clipes.tasks.inputs.photos import load_photos
from clipes.tasks.plan.jobs import ShardJob
from clipes.tasks.plan.row_kinds import PHOTO_ROWS
from clipes.tasks.plan.row_schema import PhotoRow, column
from clipes.tasks.plan.run_inputs import RunInputs
from clipes.tasks.plan.stage import Stage
from clipes.tasks.stages.masks import MASKS
from clipes_core.errors import PhotoError


@dataclass(frozen=True, kw_only=True)
class BrightnessRow(PhotoRow):
    """The brightness of a photo's objects, in [0, 255]; null if the mask has no object."""

    brightness: float | None = column("double", None)


class Brightness(Stage):
    """Measures the brightness of objects."""

    name, version = "brightness", 1
    upstream = (MASKS,)
    row, kind, workers = BrightnessRow, PHOTO_ROWS, "cpu"

    @override
    def rows(self, job: ShardJob) -> Iterator[BrightnessRow]:
        masks = {row["image_id"]: row["mask_png"] for row in job.upstream_rows(MASKS, ("image_id", "mask_png"))}
        for photo, loaded in load_photos(job.photos, job.config.dataset):
            time.sleep(float(os.environ.get("TOY_SECONDS", "0")))  # so that a test can kill the stage in the middle
            if isinstance(loaded, PhotoError):
                yield BrightnessRow.failed(photo.image_id, loaded)
                continue
            with Image.open(io.BytesIO(masks[photo.image_id])) as mask:
                pixels = np.asarray(loaded.image)[np.asarray(mask) > 0]
            brightness = float(pixels.mean()) if pixels.size else None
            yield BrightnessRow(image_id=photo.image_id, brightness=brightness)

    @override
    def reads(self, inputs: RunInputs) -> dict[str, Any]:
        return {"photo": inputs.photo_settings}


BRIGHTNESS = Brightness()
