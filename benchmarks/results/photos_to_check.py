"""The section of docs/results.md on photos to check: how many of the bad masks clipes finds without true masks."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.results.calls import CONFIG, Clipes
from benchmarks.results.paragraphs import paragraph
from clipes.tasks.report.sections.to_check import TITLES
from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.runs.photos_to_check import photos_to_check
from clipes.tasks.stages.mask_scores import CELL_COLUMNS, MASK_SCORES, photo_mious
from clipes.tasks.storage.run_status import read_run
from clipes_core.evaluation.photos_to_check import Reason
from clipes_core.evaluation.scored import PSEUDO_MASK

BAD = 0.25  # masks with a lower mIoU are bad
HEADINGS = ("seed", "masks below 25 % mIoU", "of these listed", "photos listed", "mIoU if listed", "mIoU of the others")


@dataclass(frozen=True)
class Photo:
    """A photo, the mIoU of its mask in [0, 1], and the reasons for which it is listed."""

    miou: float
    reasons: frozenset[Reason]


def checked_photos(clipes: Clipes, seed: int) -> list[Photo]:
    """Run the demo with one seed until its masks are scored, and return its photos."""
    files = clipes.run("run", "results", "--until", MASK_SCORES.name, settings=[f"dataset.seed={seed}"])
    status = read_run(files.store_uri, files.name)
    artifacts = RunArtifacts(files, status.shards)
    listed = {
        photo.image_id: frozenset(each.reason for each in photo.reasons) for photo in photos_to_check(status, artifacts)
    }
    num_classes = 1 + len(status.run["vocabulary"]["classes"])
    rows = artifacts.rows(MASK_SCORES.name, ("image_id", "status", *CELL_COLUMNS))
    return [
        Photo(photo_mious(row, num_classes)[PSEUDO_MASK.key], listed.get(row["image_id"], frozenset()))
        for row in rows
        if row["status"] == "ok"
    ]


def check_section(found: Mapping[int, Sequence[Photo]]) -> list[str]:
    """Return the lines of the section.

    Args:
        found: seed -> its photos.
    """
    every = [photo for of_seed in found.values() for photo in of_seed]
    lines = [
        "## Photos to check",
        "",
        *paragraph(
            f"clipes lists the photos to check of `{CONFIG}` without true masks. The true masks show afterwards how",
            "many of the bad masks are among them. Seed 0 is the demo. The limit of the CRF's changes was chosen on",
            "the seeds 0, 101, 102 and 103.",
        ),
        "",
        _row(HEADINGS),
        _row(["---"] * len(HEADINGS)),
        *(_row([str(seed), *_cells(of_seed)]) for seed, of_seed in found.items()),
        _row(["all", *_cells(every)]),
        "",
        "A photo can have several signs:",
        "",
        "| sign | photos | masks below 25 % mIoU | mIoU |",
        "|---|---|---|---|",
    ]
    for reason in Reason:
        having = [photo for photo in every if reason in photo.reasons]
        if having:
            lines.append(_row([TITLES[reason], str(len(having)), str(_bad(having)), _mean(having)]))
    return lines


def _cells(of_seed: Sequence[Photo]) -> list[str]:
    listed = [photo for photo in of_seed if photo.reasons]
    others = [photo for photo in of_seed if not photo.reasons]
    bad = _bad(of_seed)
    return [
        str(bad),
        f"{_bad(listed)} ({_bad(listed) / bad:.0%})" if bad else "–",
        f"{len(listed)} of {len(of_seed)} ({len(listed) / len(of_seed):.0%})",
        _mean(listed),
        _mean(others),
    ]


def _bad(some: Iterable[Photo]) -> int:
    return sum(photo.miou < BAD for photo in some)


def _mean(some: Sequence[Photo]) -> str:
    return f"{100 * statistics.mean(photo.miou for photo in some):.1f}" if some else "–"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
