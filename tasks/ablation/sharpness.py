"""The sharpness of the template of a run, from the scores of its CAMs (CLIP-ES sec. 3.2)."""

from collections.abc import Iterator

import numpy as np

from clipes.tasks.stages.cams import CAMS
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.config.run import RunConfig
from clipes_core.template_ranking import sharpness


def run_sharpness(config: RunConfig) -> float | None:
    """Return the sharpness of the template of a finished run, at least 0; None if no photo has CAMs.

    Args:
        config: config of the run. Its CAMs come from a softmax.

    Raises:
        ArtifactError: a file of the run cannot be read.
        StorageError: the store refuses access.
        TransientError: the store does not answer.
    """
    rows = RunFiles(config.store, config.name).read_status()
    uris = [row["artifact"] for row in rows if row["stage"] == CAMS.name and row["artifact"]]
    scores = list(_scores(config.store, uris))
    return float(sharpness(scores)[0]) if scores else None


def _scores(store_uri: str, uris: list[str]) -> Iterator[np.ndarray]:
    """Yield the (1, K) scores of each photo that has CAMs."""
    for table in ArtifactStore(store_uri).read_all(uris, ["scores"]):
        yield from (np.asarray([scores]) for scores in table["scores"].to_pylist() if scores)
