"""The ranking of templates by sharpness, computed from the scores of all photos."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from clipes.tasks.inputs.templates import PAPER_TEMPLATES
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes_core.errors import StageError
from clipes_core.finite import OF_CLIP, is_finite
from clipes_core.template_ranking import RankedTemplate, evenly_spaced_positions, rank_templates, sharpness


@dataclass(frozen=True)
class TemplateRanking:
    """A ranking of templates by sharpness, and the number of photos that it is based on.

    Attributes:
        ranked: templates, the lowest sharpness first.
        photos_one_label: number of photos with one label. The variance of their scores is 0.
        photos_several_labels: number of photos with several labels.
    """

    ranked: tuple[RankedTemplate, ...]
    photos_one_label: int
    photos_several_labels: int

    @property
    def best(self) -> str:
        """The best template, which has the lowest sharpness."""
        return self.ranked[0].template

    @property
    def photos(self) -> int:
        """The number of photos that the ranking is based on."""
        return self.photos_one_label + self.photos_several_labels


@dataclass
class _Counts:
    one_label: int = 0
    several_labels: int = 0


def template_ranking(store: ArtifactStore, uris: Iterable[str], templates: Sequence[str]) -> TemplateRanking:
    """Rank templates by sharpness, from the scores in the artifacts of the stage `prompts`.

    Args:
        store: store that holds the artifacts.
        uris: URIs of all artifacts of the stage `prompts`.
        templates: candidate templates, in the order in which the artifacts hold their scores.

    Raises:
        ArtifactError: an artifact cannot be read.
        StageError: no photo has scores, or the sharpness of a template is not a finite number.
    """
    counts = _Counts()
    try:
        by_template = sharpness(_scores(store, uris, len(templates), counts))
    except ValueError as exc:
        raise StageError("no photo with labels could be encoded: see rejects.parquet") from exc
    if not is_finite(by_template):
        raise StageError(f"the sharpness of a template contains NaN or infinity. Likely causes: {OF_CLIP}")
    return TemplateRanking(rank_templates(templates, by_template), counts.one_label, counts.several_labels)


def sampled_templates(ranking: TemplateRanking, count: int) -> tuple[str, ...]:
    """Choose evenly spread templates from a ranking; add the middle of the ranking, and the paper's templates.

    Args:
        ranking: ranking of all candidates.
        count: number of evenly spread templates, at least 2: the best, the worst, and others between them.

    Returns:
        The chosen templates, the best first.
    """
    spread = set(evenly_spaced_positions(len(ranking.ranked), count))
    chosen = (each for place, each in enumerate(ranking.ranked) if place in spread or each.template in PAPER_TEMPLATES)
    return tuple(each.template for each in chosen)


def counted(ranking: TemplateRanking) -> str:
    """Return a phrase that says how many templates were ranked, and on how many photos."""
    return (
        f"{len(ranking.ranked)} templates on {ranking.photos} photos: "
        f"{ranking.photos_one_label} with one label, {ranking.photos_several_labels} with several"
    )


def ranking_json(ranking: TemplateRanking, pooling: str, photos_encoded: int) -> dict[str, Any]:
    """Return the facts about a ranking for metrics.json and for the metadata of prompts.parquet.

    Args:
        ranking: the ranking.
        pooling: value of clip.pooling, the kind of image embedding.
        photos_encoded: number of photos that this run had to encode.
    """
    best = ranking.ranked[0]
    return {
        "template": best.template,
        "sharpness": best.sharpness,
        "templates": len(ranking.ranked),
        "photos_one_label": ranking.photos_one_label,
        "photos_several_labels": ranking.photos_several_labels,
        "pooling": pooling,
        "photos_encoded": photos_encoded,
    }


def _scores(store: ArtifactStore, uris: Iterable[str], templates: int, counts: _Counts) -> Iterator[np.ndarray]:
    """Yield the (T, K) scores of each photo; `counts` counts the photos with one label and with several labels."""
    for table in store.read_all(uris, ["scores"]):
        column = table["scores"].combine_chunks()
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        flat = column.flatten().to_numpy(zero_copy_only=False)
        for scores in np.split(flat, np.cumsum(lengths)[:-1]) if len(lengths) else ():
            classes = len(scores) // templates
            counts.one_label += int(classes == 1)
            counts.several_labels += int(classes > 1)
            yield scores.reshape(templates, classes)
