"""The table of data set formats. To add a format, write a module in this folder and add its name to MODULES.

clipes imports all these modules before it checks a config. They must not import large packages such as pandas, pyarrow
and torch at the top, because slow imports would delay the report of a mistake in the config.
"""

from pkgutil import resolve_name

from clipes.tasks.inputs.datasets.dataset_format import DatasetFormat
from clipes_core.config.choice import look_up

MODULES = (  # each module defines a DatasetFormat with the name FORMAT
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
