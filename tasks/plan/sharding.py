"""Divide photos into shards and choose samples of photos, by the hashes of their ids."""

import hashlib
from collections.abc import Iterable, Mapping

from clipes.tasks.inputs.photos import Photo


def shard_of(image_id: str, shards: int) -> int:
    """Return the number of the shard that a photo belongs to, in [0, shards)."""
    return int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big") % shards


def divide_into_shards(photos: Iterable[Photo], count: int) -> Mapping[int, tuple[Photo, ...]]:
    """Divide photos into `count` shards.

    Returns:
        Shard number -> photos of the shard, in ascending order of the numbers. Shards without photos are left out.
    """
    found: dict[int, list[Photo]] = {}
    for photo in photos:
        found.setdefault(shard_of(photo.image_id, count), []).append(photo)
    return {shard: tuple(found[shard]) for shard in sorted(found)}


def sample_of(image_ids: Iterable[str], count: int) -> frozenset[str]:
    """Return the `count` ids with the lowest hashes. The order of the ids has no influence."""
    return frozenset(sorted(image_ids, key=lambda image_id: hashlib.sha256(image_id.encode()).digest())[:count])
