"""The progress of a run in the Prefect UI: one Prefect artifact per stage, updated during the run.

The page of a flow run in the UI loads its Prefect artifacts again every 5 s while the run is running.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import UUID

from prefect.artifacts import ProgressArtifact, update_progress_artifact

from clipes.tasks.machine.background import in_background
from clipes.tasks.ui.publishing import ServerWatch, TaskRuns, artifact_key, create_artifact, in_flow_run
from clipes.tasks.ui.terminal_progress import Count, StageProgress

REFRESH_SECONDS = 5.0


@contextmanager
def show_progress_in_ui(run: str, totals: Mapping[str, int], done: Count, task_runs: TaskRuns) -> Iterator[None]:
    """Show the progress of each stage in the Prefect UI while the block runs.

    Outside of a Prefect flow run, show nothing. The progress of a stage appears when its first task run is submitted.

    Args:
        run: name of the run.
        totals: name of a stage -> number of rows that the stage will have. Stages with 0 rows are not shown.
        done: function from the name of a stage to the number of finished rows so far.
        task_runs: name of a stage -> its first task run; it is read again at each update.
    """
    if not in_flow_run():
        yield
        return
    shown = _ShownProgress(run, {stage: total for stage, total in totals.items() if total}, done, task_runs)

    def refresh_until(stop: threading.Event) -> None:
        shown.refresh()
        while not stop.wait(REFRESH_SECONDS):
            shown.refresh()
        shown.refresh()

    with in_background(refresh_until, "progress in the UI"):
        yield


class _ShownProgress:
    """Prefect's progress artifacts of a run, and the counts that they show."""

    def __init__(self, run: str, totals: Mapping[str, int], done: Count, task_runs: TaskRuns) -> None:
        self._run, self._totals, self._done, self._task_runs = run, totals, done, task_runs
        self._ids: dict[str, UUID] = {}
        now = time.monotonic()
        self._stages = {stage: StageProgress(stage, total, now) for stage, total in totals.items()}
        self._watch = ServerWatch("progress")

    def refresh(self) -> None:
        """Create the missing Prefect artifacts, and update those whose counts have changed."""
        with self._watch.tolerate_failures():
            for stage, progress in self._stages.items():
                before = progress.count
                progress.update(self._done(stage), time.monotonic())
                if stage in self._task_runs and (progress.count != before or stage not in self._ids):
                    self._show(stage, 100 * progress.count / self._totals[stage], progress.text)

    def _show(self, stage: str, percent: float, text: str) -> None:
        if stage in self._ids:
            update_progress_artifact(self._ids[stage], percent, text)
        else:
            key = artifact_key(self._run, stage, "progress")
            artifact = ProgressArtifact(progress=percent, key=key, description=text, task_run_id=self._task_runs[stage])
            self._ids[stage] = create_artifact(artifact)
