"""The table of layouts that `clipes init` recognises. To add one, write a module in this folder and add its name here.

The order matters: of several layouts that fit a folder, clipes takes the first one. The last one always fits.
"""

from collections.abc import Iterator
from pkgutil import resolve_name

from clipes.tasks.commands.init.layouts.layout import Found, Layout
from clipes.tasks.commands.init.photo_folder import PhotoFolder
from clipes_core.config.choice import look_up

MODULES = ("coco", "voc", "label_list", "yolo", "class_folders", "plain")  # each defines a Layout with the name LAYOUT
_DECLARED: list[Layout] = [resolve_name(f"{__package__}.{module}:LAYOUT") for module in MODULES]
LAYOUTS = {each.name: each for each in _DECLARED}


def recognise(folder: PhotoFolder, name: str | None = None) -> Iterator[Found]:
    """Yield what the layouts that fit a folder find in it, in the order of the table.

    Args:
        folder: the folder.
        name: name of the only layout to try; None for all.

    Raises:
        ConfigError: no layout has this name.
    """
    chosen = LAYOUTS.values() if name is None else (look_up(LAYOUTS, name, "--layout"),)
    return (found for layout in chosen if (found := layout.recognise(folder)) is not None)
