"""Count the photos that a listing rejects, so that a few lines describe all of them."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from clipes.tasks.inputs.photos import Reject

SHOWN_REASONS = 3  # of each kind
LONGEST_REASON = 200  # characters


def reject_lines(rejects: Sequence[Reject]) -> Iterator[str]:
    """Yield a line for each kind of reject, with its number of photos and its most frequent reasons.

    Each reason names its first photo. Reasons that name a file differ between photos, so only the first few are shown.
    """
    kinds: dict[str, list[Reject]] = defaultdict(list)
    for reject in rejects:
        kinds[reject.kind].append(reject)
    for kind, own in sorted(kinds.items(), key=lambda item: -len(item[1])):
        counts = Counter(reject.reason for reject in own)
        first = {reject.reason: reject.image_id for reject in reversed(own)}
        shown = counts.most_common(SHOWN_REASONS)
        reasons = [f"{_short(reason)} ({_photos(first[reason], count)})" for reason, count in shown]
        rest = len(own) - sum(count for _, count in shown)
        yield f"{len(own)} {kind}: {'; '.join(reasons)}{f'; and {rest} more' if rest else ''}"


def _photos(first: str, count: int) -> str:
    return first if count == 1 else f"{first} and {count - 1} more"


def _short(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON else f"{reason[:LONGEST_REASON]}..."
