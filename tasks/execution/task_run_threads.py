"""The threads in which Prefect executes the task runs of one kind of worker."""

from typing import Any

from prefect.task_runners import ThreadPoolTaskRunner
from typing_extensions import override


class TaskRunThreads(ThreadPoolTaskRunner[Any]):
    """Threads that end each task run that has begun by its own state, even if the run stops.

    Prefect's class marks a task run as Crashed, which the UI shows in red, if the threads are closed between the start
    of the task run and the call of its function. Here, the function is called: the runner has been cancelled by
    then, so the shard stops at once, and the task run ends as NotRun. Task runs that have not begun never start.
    """

    @override
    def cancel_all(self) -> None:
        self._cancel_events.clear()  # with these events, Prefect's class would end the task runs
        super().cancel_all()
