"""List the photos of a run whose pseudo masks are probably wrong, without true masks."""

from dataclasses import dataclass, replace

from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.stages.columns.mask_facts import shard_mask_facts
from clipes.tasks.stages.masks import MASKS
from clipes.tasks.stages.segmenter_agreement import SEGMENTER_AGREEMENT
from clipes.tasks.storage.run_files import RunFiles
from clipes.tasks.storage.run_status import RunStatus, recorded_vocabulary
from clipes_core.config.run import parse_config
from clipes_core.errors import ArtifactError
from clipes_core.evaluation.photos_to_check import Finding, find_reasons, severity


@dataclass(frozen=True)
class PhotoToCheck:
    """A photo that a person should look at.

    Attributes:
        image_id: id of the photo.
        reasons: the reasons, at least one; each has a name, a measured value and a sentence.
        severity: number by which photos are sorted; the larger, the more likely the mask is wrong.
    """

    image_id: str
    reasons: tuple[Finding, ...]
    severity: float


def photos_to_check(status: RunStatus, artifacts: RunArtifacts) -> list[PhotoToCheck]:
    """Return the photos whose pseudo masks are probably wrong, the worst first.

    The limits are those of `report.check` in the config of the run. Of the masks, only the footers of the artifacts are
    read, unless an earlier version of clipes wrote them.

    Args:
        status: content of the run's files, as `read_run` returns it.
        artifacts: reader of the run's artifacts, `RunArtifacts(files, status.shards)`. Artifacts that cannot be read
            are added to `artifacts.unreadable`, and their photos are left out.

    Raises:
        UsageError: an earlier version of clipes wrote the run, or its config is invalid.
    """
    names = [entry.name for entry in recorded_vocabulary(status.run).classes]
    limits = parse_config(status.run["config"]).report.check
    found, agreements = [], _agreements(artifacts)
    for shard in artifacts.each(MASKS.name, shard_mask_facts):
        for image_id, facts in shard.items():
            compared = replace(facts, agreement=agreements.get(image_id))
            if reasons := find_reasons(compared, names, limits):
                found.append(PhotoToCheck(image_id, reasons, severity(reasons)))
    return sorted(found, key=lambda photo: (-photo.severity, photo.image_id))


def read_photos_to_check(status: RunStatus, files: RunFiles) -> list[PhotoToCheck]:
    """Return the same photos as `photos_to_check`, or report every artifact that cannot be read.

    Args:
        status: content of the run's files, as `read_run` returns it.
        files: files of the run.

    Raises:
        ArtifactError: artifacts cannot be read.
        UsageError: an earlier version of clipes wrote the run, or its config is invalid.
    """
    artifacts = RunArtifacts(files, status.shards)
    found = photos_to_check(status, artifacts)
    if artifacts.unreadable:
        raise ArtifactError("\n".join(artifacts.unreadable.values()))
    return found


def _agreements(artifacts: RunArtifacts) -> dict[str, float]:
    """Return image_id -> agreement of the photo's mask with the segmenter; empty if the run does not compare them."""
    rows = artifacts.rows(SEGMENTER_AGREEMENT.name, ("image_id", "status", "agreement"))
    return {row["image_id"]: row["agreement"] for row in rows if row["status"] == "ok"}
