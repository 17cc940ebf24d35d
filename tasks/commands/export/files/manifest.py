"""The file manifest.json of an export: from which run it is, with which settings, and how many masks it has."""

import json
from typing import Any

from clipes.tasks.commands.export.request import Exported, ExportRequest

FILE = "manifest.json"  # written last: an export without this file is incomplete


def manifest(request: ExportRequest, format_name: str, exported: Exported, only: str | None) -> bytes:
    """Return the content of manifest.json.

    Args:
        request: the run and the settings of the export.
        format_name: name of the format.
        exported: outcome of the export.
        only: which photos were exported; None for all.
    """
    run = request.run.run
    content: dict[str, Any] = {
        "format": format_name,
        "run": run["name"],
        "state": exported.state,
        "started": run["started"],
        "clipes": run["versions"]["clipes"],
        "stage_keys": run["stage_keys"],
        "settings": {
            "ignore_below": request.ignore_below,
            "confidence": request.confidence,
            "photos": request.photos,
            "only": only,
        },
        "masks_written": exported.written,
        "photos_without_mask": exported.left_out + exported.unmade,
        "pixels": exported.pixels,
        "ignored_pixels": exported.ignored,
    }
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()
