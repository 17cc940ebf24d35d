"""The configs and grids with which the measurements of the paper are repeated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clipes.tasks.ablation.grid import Grid
from clipes.tasks.ablation.grid_file import load_grid
from clipes.tasks.ablation.variant_runs import check_overrides
from clipes.tasks.inputs.configs import load_config
from clipes.tasks.machine.shipped_files import CONFIGS
from clipes_core.config.run import RunConfig
from clipes_core.errors import ConfigError

Part = Literal["pseudo-masks", "segmenters"]
MASKS_SPLIT = {"voc12": "train", "coco14": "train2014"}  # data set -> split of the paper's pseudo masks
REPRODUCTIONS = CONFIGS / "reproductions"  # grids, which name the published numbers by their ids
# The paper's numbers were measured on masks of a CRF that reads this image.
PUBLISHED_PROGRAM = ("crf.image=reference",)


@dataclass(frozen=True)
class PaperRuns:
    """Runs that repeat measurements of the paper.

    Attributes:
        data: name of the data set: voc12 or coco14.
        part: what they measure.
        config: config of the runs, with the user's settings.
        paper: the same config without the user's settings.
        grid: the variants, the scores, and the published numbers.
    """

    data: str
    part: Part
    config: RunConfig
    paper: RunConfig
    grid: Grid


def check_data_name(data: str) -> None:
    """Check that clipes knows the paper's numbers of a data set.

    Raises:
        ConfigError: it does not.
    """
    if data not in MASKS_SPLIT:
        raise ConfigError(f"no data set {data!r}: the paper's data sets are {' and '.join(MASKS_SPLIT)}; name one")


def paper_runs(data: str, part: Part, overrides: Sequence[str], given: Mapping[str, Any]) -> PaperRuns:
    """Return the runs that repeat a part of the paper's measurements on a data set.

    Args:
        data: voc12 or coco14.
        part: pseudo-masks for the paper's tables of pseudo masks, segmenters for those of segmenters.
        overrides: the user's settings `key=value`, which replace those of the paper.
        given: nested dict of values that belong to the machine, such as the store and dataset.root.

    Raises:
        ConfigError: a setting is invalid (one line per key), or the runs themselves vary it.
    """
    grid = load_grid(str(REPRODUCTIONS / data / f"{part}.yaml"))
    check_overrides(overrides, grid)
    path = str(CONFIGS / f"{data}.yaml")
    of_part = (f"dataset.split={MASKS_SPLIT[data]}", "train.enabled=false") if part == "pseudo-masks" else ()
    theirs = (f"name=reproduce-{data}-{part}", *PUBLISHED_PROGRAM, *of_part)
    config, paper = (load_config(path, (*theirs, *own), given) for own in (overrides, ()))
    return PaperRuns(data, part, config, paper, grid)
