"""Small artifacts of the stage masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey

KEY = ArtifactKey("masks", "5" * 16, 7, "c" * 16)
SCHEMA = pa.schema([("image_id", pa.string()), ("data", pa.binary()), ("sizes", pa.list_(pa.int16()))])
METADATA = {"config": '{"name": "kö"}', "version": "0.1.0"}


def rows(count: int) -> list[dict[str, Any]]:
    """Return rows with random bytes."""
    noise = np.random.default_rng(0)
    return [{"image_id": f"photo {i}", "data": noise.bytes(50), "sizes": [i, 2]} for i in range(count)]


def write(store: ArtifactStore, key: ArtifactKey = KEY, count: int = 3, complete: bool = True) -> str:
    """Write `rows(count)` as an artifact, and return its URI."""
    with store.writer(key, SCHEMA, METADATA) as artifact:
        for row in rows(count):
            artifact.write(row)
        artifact.complete = complete
    return store.artifact_uri(key)


def path_of(store: ArtifactStore, key: ArtifactKey = KEY) -> Path:
    """Return the path of an artifact in a local store."""
    return Path(store.artifact_uri(key))


def with_content(key: ArtifactKey, content_key: str) -> ArtifactKey:
    """Return a key of the same shard with another content key, given as one hexadecimal digit."""
    return ArtifactKey(key.stage, key.stage_key, key.shard, content_key * 16)
