"""The choice of the photos to show in a gallery: the best, the worst, and random ones."""

import hashlib
import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Picks:
    """The ids of the chosen photos. No photo occurs twice.

    Attributes:
        best: ids of the best photos, highest score first.
        worst: ids of the worst photos, lowest score first.
        random: ids of random photos, ordered by a hash of the id.
    """

    best: tuple[str, ...]
    worst: tuple[str, ...]
    random: tuple[str, ...]


class GalleryChoice:
    """Chooses among photos that are added one at a time.

    For each group (best, worst, random), at most 2 * `count` ids are in memory. The choice needs no seed. It depends on
    the ids and the scores of the photos, and not on the order in which the photos are added.

    Args:
        count: number of photos to choose in total; may be 0.

    Attributes:
        photos: number of photos that have been added.
    """

    def __init__(self, count: int) -> None:
        self._count, self._scored, self.photos = count, 0, 0
        self._kept: dict[str, list[tuple[Any, str]]] = {"best": [], "worst": [], "random": []}

    def add(self, image_id: str, score: float) -> None:
        """Add a photo. If its score is nan, the photo can only be in the random group."""
        order = int.from_bytes(hashlib.sha256(image_id.encode(errors="surrogatepass")).digest())
        self.photos += 1
        self._keep("random", order, image_id)
        if not math.isnan(score):
            self._scored += 1
            self._keep("best", (-score, order), image_id)
            self._keep(
                "worst", (score, -order), image_id
            )  # the exact reverse of the order of `best`, so that no photo is in both groups

    def picks(self) -> Picks:
        """Choose `count` photos: a third are the best ones, a third are the worst ones, and the rest are random.

        If fewer photos were added, choose all of them.
        """
        third = min(self._count, self._scored) // 3
        best, worst = self._first("best", third), self._first("worst", third)
        left = [image_id for image_id in self._first("random", self._count) if image_id not in {*best, *worst}]
        return Picks(best, worst, tuple(left[: self._count - 2 * third]))

    def _first(self, group: str, count: int) -> tuple[str, ...]:
        return tuple(image_id for _, image_id in sorted(self._kept[group])[:count])

    def _keep(self, group: str, key: Any, image_id: str) -> None:
        kept = self._kept[group]
        kept.append((key, image_id))
        if len(kept) > 2 * self._count:
            kept.sort()
            del kept[self._count :]
