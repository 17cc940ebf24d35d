"""The table of data set formats. To add a format, write a module in this folder and add one line here.

Keep the modules fast to import, so that a mistake in a config is reported before pandas, pyarrow or torch are imported.
"""

from pkgutil import resolve_name

from clipes.tasks.inputs.datasets.dataset_format import DatasetFormat
from clipes_core.errors import ConfigError

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
    if name not in FORMATS:
        *others, last = map(repr, FORMATS)
        raise ConfigError(f"dataset.format: Input should be {', '.join(others)} or {last} (got {name!r})")
    return FORMATS[name]
