import io

from support.run_contents import RUN

from clipes.flows.terminal.runs_table import print_runs
from clipes.tasks.machine.terminal import TerminalConsole
from clipes.tasks.stages.registry import run_names
from clipes.tasks.storage.run_status import RunStatus
from clipes_core.errors import BrokenArtifactError


def status_of(name, started, metrics=None, **run):
    return RunStatus({**RUN, "name": name, "started": started, **run}, [], metrics, 0, interrupted=False)


def test_the_last_started_run_comes_first_and_damaged_runs_come_last():
    console = TerminalConsole(io.StringIO())
    console.width = 120
    print_runs(
        console,
        {
            "broken": BrokenArtifactError("/store/runs/broken/status.parquet", "is missing"),
            "first": status_of("first", "2026-01-01T10:00:00+00:00", {"pseudo_mask": {"miou": 0.4781}}),
            "second": status_of("second", "2026-02-01T10:00:00+00:00", state="failed", photos=77),
        },
    )
    _, header, second, first, broken = console.file.getvalue().splitlines()
    assert header.split() == ["run", "state", "until", "photos", "masks", "segmenter", "started", "(UTC)"]
    assert second.split()[:2] == ["second", "failed"]
    assert "77" in second
    assert "47.8 %" in first
    assert first.endswith("2026-01-01 10:00")
    assert broken.startswith("run broken cannot be read: /store/runs/broken/status.parquet is missing")


def test_the_list_fits_80_columns_unless_a_name_is_long():
    console = TerminalConsole(io.StringIO())
    console.width = 80
    scores = {"pseudo_mask": {"miou": 0.4781}, "segmenter": {"miou": 0.5}}
    run = {"state": "cancelled", "until": run_names()[-1], "photos": 1234567}
    print_runs(console, {"voc12-train": status_of("voc12-train", "2026-01-01T10:00:00+00:00", scores, **run)})
    assert max(map(len, console.file.getvalue().splitlines())) <= 80
    assert run_names()[-1] not in console.file.getvalue()
