"""The file to-check.csv of an export: the photos that a person should look at, with the reasons."""

import csv
import io
from collections.abc import Iterable

from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.runs.photos_to_check import PhotoToCheck, photos_to_check
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import RunStatus
from clipes_core.errors import ArtifactError

FILE = "to-check.csv"


def find_photos(store_uri: str, run: RunStatus) -> list[PhotoToCheck]:
    """Return the photos of a run whose pseudo masks are probably wrong, the worst first.

    Raises:
        ArtifactError: an artifact cannot be read.
        UsageError: an earlier version of clipes wrote the run.
    """
    artifacts = RunArtifacts(RunFiles(store_uri, run.run["name"]), run.shards)
    found = photos_to_check(run, artifacts)
    for uri, reason in artifacts.unreadable.items():
        raise ArtifactError(f"{uri}: {reason}")
    return found


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
