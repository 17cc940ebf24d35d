"""Decide the number of shards, divide photos into shards and choose samples of photos, by the hashes of their ids."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

from clipes.tasks.inputs.photos import Photo

FEWEST_SHARDS, MOST_PHOTOS = 32, 1000  # MOST_PHOTOS is the largest mean number of photos per shard


def count_shards(stated: int | Literal["auto"], photos: int, kept: int | None = None) -> int:
    """Return the number of shards of a run, which is never larger than the number of its photos.

    Args:
        stated: value of `execution.shards`.
        photos: number of photos.
        kept: number of shards of the last run of the same name; None if there is none.

    Returns:
        `stated`, halved until there are no more shards than photos. With `auto`, start from `kept` or FEWEST_SHARDS
        instead. Then double the number until a shard has at most MOST_PHOTOS photos on average, and until there are
        FEWEST_SHARDS, if there are enough photos. At least 1.
    """
    count = (kept or FEWEST_SHARDS) if stated == "auto" else stated
    while count > max(photos, 1):
        count //= 2
    if stated == "auto":
        while photos > MOST_PHOTOS * count or 2 * count <= min(FEWEST_SHARDS, photos):
            count *= 2
    return count


def parent_shards(shard: int, count: int) -> list[int]:
    """Return the other numbers of the shards that had the photos of a shard when there were fewer shards.

    If the number of shards was doubled, the photos of shard k were in shard k modulo the number before.

    Args:
        shard: number of the shard, in [0, count).
        count: number of shards now.

    Returns:
        The number of the shard when there were half as many shards, a quarter, and so on, but at least FEWEST_SHARDS
        if there are more now.
    """
    found, fewest = [shard], 1 if count <= FEWEST_SHARDS else FEWEST_SHARDS  # many shards would each read many files
    while count % 2 == 0 and count // 2 >= fewest:
        count //= 2
        found.append(shard % count)
    return [*dict.fromkeys(found)][1:]


def is_doubled_or_halved(before: int, now: int) -> bool:
    """Return whether a number of shards was doubled or halved, once or more, so that finished rows are found again."""
    factor, rest = divmod(max(before, now), min(before, now))
    is_found = before >= FEWEST_SHARDS or now <= FEWEST_SHARDS
    return is_found and rest == 0 and factor > 1 and factor.bit_count() == 1


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
