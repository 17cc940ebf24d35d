"""The table of data set formats. To add a format, write a module in this folder and add one line here.

Keep the modules fast to import, so that a mistake in a config is reported before pandas, pyarrow or torch are imported.
"""

from pkgutil import resolve_name

from clipes.tasks.inputs.datasets.dataset_format import DatasetFormat
from clipes_core.config.choice import look_up

MODULES = (  # each module declares its FORMAT
    "voc",
    "photo_list",
    "coco",
    "scenes",
)
_DECLARED: list[DatasetFormat] = [resolve_name(f"{__package__}.{module}:FORMAT") for module in MODULES]
FORMATS = {each.name: each for each in _DECLARED}


def find_format(name: str) -> DatasetFormat:
    """Return the format that `dataset.format` names.

    Raises:
        ConfigError: no format has this name.
    """
    return look_up(FORMATS, name, "dataset.format")
