"""Choose the photos of a gallery: the best photos, the worst photos and random photos."""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Picks:
    """The ids of the chosen photos. No photo is in two groups.

    Attributes:
        best: ids of the best photos, highest score first.
        worst: ids of the worst photos, lowest score first.
        random: ids of random photos, ordered by a hash of the id.
        to_check: ids of the photos that a person should look at, the most suspicious first.
        further: ids of the other photos that a person should look at, the most suspicious first.
    """

    best: tuple[str, ...]
    worst: tuple[str, ...]
    random: tuple[str, ...]
    to_check: tuple[str, ...] = ()
    further: tuple[str, ...] = ()


class GalleryChoice:
    """Chooses the photos of a gallery from photos that are added one at a time.

    The choice, including the random photos, depends only on the ids and scores of the added photos. It does not depend
    on a seed or on the order in which photos are added. The memory that the class needs depends only on `count`.

    Args:
        count: number of photos to choose in total; may be 0.
        left_out: ids of photos that are not chosen, because the gallery shows them anyway.

    Attributes:
        photos: number of photos that have been added.
    """

    def __init__(self, count: int, left_out: Collection[str] = ()) -> None:
        self._count, self._scored, self.photos = count, 0, 0
        self._left_out = frozenset(left_out)
        self._kept: dict[str, list[tuple[Any, str]]] = {"best": [], "worst": [], "random": []}

    def add(self, image_id: str, score: float) -> None:
        """Add a photo. A photo with the score nan is never among the best or the worst photos."""
        self.photos += 1
        if image_id in self._left_out:
            return
        order = int.from_bytes(hashlib.sha256(image_id.encode(errors="surrogatepass")).digest())
        self._keep("random", order, image_id)
        if not math.isnan(score):
            self._scored += 1
            self._keep("best", (-score, order), image_id)
            self._keep(
                "worst", (score, -order), image_id
            )  # the exact reverse of the order of `best`, so that no photo is in both groups

    def picks(self) -> Picks:
        """Choose `count` photos, or all photos if fewer than `count` were added.

        The result has n best photos and n worst photos; all other photos of the result are random. n is one third of
        `count`. If fewer than `count` photos have a score, n is one third of the number of photos with a score.
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
