"""Small Parquet files, as clipes writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from clipes.tasks.storage.parquet.writing import ArtifactWriter

SCHEMA = pa.schema([("image_id", pa.string()), ("data", pa.binary()), ("sizes", pa.list_(pa.int16()))])


def rows(count: int, size: int = 50) -> list[dict[str, Any]]:
    """Return rows with `size` random bytes each."""
    noise = np.random.default_rng(0)
    return [{"image_id": f"photo {i}", "data": noise.bytes(size), "sizes": [i, 2]} for i in range(count)]


def write(
    path: Path,
    count: int = 3,
    complete: bool = True,
    metadata: dict[str, str] | None = None,
    size: int = 50,
    **added: str,
) -> str:
    """Write `rows(count, size)` as an artifact, and return its path."""
    writer = ArtifactWriter(str(path), path, SCHEMA, metadata or {})
    for row in rows(count, size):
        writer.write(row)
    writer.complete = complete
    writer.add_metadata(added)
    writer.close()
    return str(path)
