"""Decide the number of shards, divide photos into shards and choose samples of photos, by the hashes of their ids."""

import hashlib
from collections.abc import Iterable, Mapping

from clipes.tasks.inputs.photos import Photo

FEWEST_SHARDS, MOST_PHOTOS = 32, 1000  # MOST_PHOTOS is the largest mean number of photos per shard


def automatic_count(photos: int, kept: int | None = None) -> int:
    """Return the number of shards that `execution.shards: auto` stands for.

    Args:
        photos: number of photos.
        kept: number of shards of the last run of the same name; None if there is none.

    Returns:
        `kept` if its shards hold at most MOST_PHOTOS photos on average. Otherwise `kept`, or FEWEST_SHARDS if that is
        more, doubled until they do.
    """
    count = kept or FEWEST_SHARDS
    while photos > MOST_PHOTOS * count:
        count = max(2 * count, FEWEST_SHARDS)
    return count


def parent_shards(shard: int, count: int) -> list[int]:
    """Return the other numbers of the shards that had the photos of a shard when there were fewer shards.

    If the number of shards was doubled, the photos of shard k were in shard k modulo the number before.

    Args:
        shard: number of the shard, in [0, count).
        count: number of shards now.

    Returns:
        The number of the shard when there were half as many shards, a quarter, and so on, but at least FEWEST_SHARDS.
    """
    found = [shard]
    while count % 2 == 0 and count // 2 >= FEWEST_SHARDS:
        count //= 2
        found.append(shard % count)
    return [*dict.fromkeys(found)][1:]


def is_doubled(before: int, now: int) -> bool:
    """Return whether a number of shards was doubled, once or more, so that `parent_shards` returns the old shards."""
    factor = now // before
    return before >= FEWEST_SHARDS and factor > 1 and now == before * factor and factor.bit_count() == 1


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
