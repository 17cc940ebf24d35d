"""Progress that moves in the Prefect UI while a run goes on: an artifact per stage."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from clipes.tasks.machine.background import in_background
from clipes.tasks.ui.publishing import ServerWatch, artifact_key, in_flow_run
from clipes.tasks.ui.terminal import Count, StageProgress

REFRESH_SECONDS = 5.0


@contextmanager
def progress_in_ui(run: str, totals: Mapping[str, int], done: Count) -> Iterator[None]:
    """Show in the Prefect UI how far each stage is while the block runs; nothing where no flow run goes on.

    Args:
        run: its name.
        totals: stage -> rows it will have; a stage without any is not shown.
        done: rows of a stage so far.
    """
    if not in_flow_run():
        yield
        return
    shown = _ShownProgress(run, {stage: total for stage, total in totals.items() if total}, done)

    def keep_up(stop: threading.Event) -> None:
        shown.refresh()
        while not stop.wait(REFRESH_SECONDS):
            shown.refresh()
        shown.refresh()

    with in_background(keep_up, "progress in the UI"):
        yield


class _ShownProgress:
    """The artifacts, and the counts that they show."""

    def __init__(self, run: str, totals: Mapping[str, int], done: Count) -> None:
        self._run, self._totals, self._done = run, totals, done
        self._ids: dict[str, UUID] = {}
        now = time.monotonic()
        self._stages = {stage: StageProgress(stage, total, now) for stage, total in totals.items()}
        self._watch = ServerWatch("progress")

    def refresh(self) -> None:
        """Create the artifacts that are not there, and bring up to date those whose counts have moved."""
        with self._watch.publishing():
            for stage, progress in self._stages.items():
                before = progress.count
                progress.see(self._done(stage), time.monotonic())
                if progress.count != before or stage not in self._ids:
                    self._show(stage, 100 * progress.count / self._totals[stage], progress.text)

    def _show(self, stage: str, percent: float, text: str) -> None:
        if stage in self._ids:
            update_progress_artifact(self._ids[stage], percent, text)
        else:
            created = create_progress_artifact(percent, artifact_key(self._run, stage, "progress"), text)
            self._ids[stage] = cast(UUID, created)  # a coroutine only where the flow is one
