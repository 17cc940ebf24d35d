"""From photos with image-level labels to segmentation masks with a frozen CLIP.

`Masker` computes the masks of single photos. `run` runs the whole pipeline on a data set, and `open_run` opens its
results. Each name is imported when it is first used, so that `import clipes` loads neither torch nor Prefect.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clipes.api.demo import demo_photo as demo_photo
    from clipes.api.masked_photo import MaskedPhoto as MaskedPhoto
    from clipes.api.masker import Masker as Masker
    from clipes.api.opened_run import Run as Run
    from clipes.api.opened_run import open_run as open_run
    from clipes.api.run_photo import RunPhoto as RunPhoto
    from clipes.api.running import run as run
    from clipes_core.errors import ClipesError as ClipesError

__version__ = "0.1.0"

_HOMES = {  # public name -> the module that defines it
    "ClipesError": "clipes_core.errors",
    "MaskedPhoto": "clipes.api.masked_photo",
    "Masker": "clipes.api.masker",
    "Run": "clipes.api.opened_run",
    "RunPhoto": "clipes.api.run_photo",
    "demo_photo": "clipes.api.demo",
    "open_run": "clipes.api.opened_run",
    "run": "clipes.api.running",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return all names, including those that are not imported yet."""
    return sorted({*globals(), *_HOMES})
