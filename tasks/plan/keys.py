"""Compute digests of settings, photos and rows. The keys in the URIs of artifacts are such digests."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.plan.row_schema import IN_DIGEST

KEY_LENGTH = 16  # hex digits (64 bits), enough to tell all artifacts of a store apart


def digest(value: Any) -> str:
    """Hash a value to 16 hex digits. The result is the same on every machine.

    Args:
        value: a number, text, bytes, None, or nested lists and dicts of these.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=_bytes_as_text)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def photo_digest(photo: Photo) -> str:
    """Return a digest that changes when the photo's file or labels change, but not when its true mask changes."""
    stated = [] if photo.stated_size is None else [list(photo.stated_size)]
    return digest([photo.image_id, photo.size_bytes, photo.fingerprint, list(photo.class_ids), *stated])


def validation_digest(photos: Sequence[Photo]) -> str | None:
    """Return a digest that changes when a photo, its labels or its true mask changes; None if there are no photos."""
    return digest([[photo_digest(photo), photo.truth_fingerprint] for photo in photos]) if photos else None


def content_key(input_digests: Mapping[str, str]) -> str:
    """Return the key of a shard's content: a digest of the inputs of all its rows.

    Args:
        input_digests: image_id -> digest of the inputs of the photo's row.
    """
    return digest(sorted(input_digests.items()))


def row_digest(row: Any) -> str:
    """Return the digest of a row's content; `row` is a frozen dataclass of plain values and bytes."""
    fields = (field for field in dataclasses.fields(row) if field.metadata.get(IN_DIGEST, True))
    return digest({field.name: getattr(row, field.name) for field in fields})


def _bytes_as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    raise TypeError(f"expected numbers, text, bytes, lists or dicts, got {type(value).__name__}")
