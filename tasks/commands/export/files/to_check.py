"""The file to-check.csv of an export: the photos that a person should look at, with the reasons."""

import csv
import io
from collections.abc import Iterable

from clipes.tasks.runs.photos_to_check import PhotoToCheck

FILE = "to-check.csv"


def to_csv(photos: Iterable[PhotoToCheck]) -> bytes:
    """Return the content of to-check.csv: a row per photo with its id, severity, and the names and texts of reasons."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["image_id", "severity", "reasons", "text"])
    for photo in photos:
        reasons = ";".join(each.reason for each in photo.reasons)
        writer.writerow(
            [photo.image_id, f"{photo.severity:.3f}", reasons, " ".join(each.text for each in photo.reasons)]
        )
    return text.getvalue().encode()
