"""Commands other than `run`, and exit codes, signals and leftover processes of all commands."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import ClipesProcess, settings
from support.process_watch import all_end_within, processes_of_home
from support.run_contents import RUN
from support.voc_scenes import NINE, labels_of

from clipes import __version__
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.artifact_store import ArtifactStore
from clipes.tasks.storage.layout import ArtifactKey
from clipes.tasks.storage.run_files import RunFiles

PRINT_WHETHER_TORCH_IS_LOADED = """
import sys
from clipes.flows.cli import main
try:
    main()
finally:
    print("torch" in sys.modules)
"""
FAST = ("--set", "crf.enabled=false")


@pytest.fixture(scope="module")
def finished(clipes_in, tmp_path_factory, scene_arguments):
    """Run nine scenes, and return the command in the folder of the run."""
    clipes = clipes_in(tmp_path_factory.mktemp("finished"))
    done = clipes(*scene_arguments, *FAST)
    assert done.returncode == 0, done.stderr
    return clipes


def test_a_completed_run_has_a_status_and_can_be_exported(finished, scene_photos):
    status = finished("status", "voc12")
    assert status.returncode == 0, status.stderr
    assert "run voc12: completed" in status.stdout
    assert "Pseudo mask" in status.stdout
    found = json.loads(finished("status", "voc12", "--json").stdout)
    assert found["state"] == "completed"
    assert found["scores"]["pseudo_mask"]["images"] == 9
    assert Path(found["report"]).is_file()
    assert json.loads(finished("runs", "--json").stdout)[0]["name"] == "voc12"

    exported = finished("export", "voc12", "--to", "pngs", "--ignore-below", "0.95")
    assert exported.returncode == 0, exported.stderr
    pngs = sorted((finished.folder / "pngs").glob("*.png"))
    assert [path.stem for path in pngs] == list(NINE)
    for path in pngs:
        image = Image.open(path)
        truth = np.array(Image.open(scene_photos / "SegmentationClass" / path.name))
        assert image.mode == "P"
        assert image.getpalette()[3:6] == [128, 0, 0]
        assert np.array(image).shape == truth.shape
        assert set(np.unique(np.array(image))) <= {0, 255, *labels_of(truth)}
    all_kept = finished("export", "voc12", "--to", "all", "--ignore-below", "0")
    assert all_kept.returncode == 0
    assert all(255 not in np.array(Image.open(path)) for path in (finished.folder / "all").glob("*.png"))


def test_gc_lists_unused_artifacts_and_deletes_them_only_with_yes(clipes):
    store = ArtifactStore(str(clipes.folder / "clipes-store"))
    for shard, key in enumerate("ab"):
        with store.writer(ArtifactKey("cams", key * 16, shard, "c" * 16), STAGES["cams"].schema, {}):
            pass
    with store.writer(ArtifactKey("masks", "a" * 16, 0, "c" * 16), STAGES["masks"].schema, {}):
        pass
    run = {**RUN, "name": "voc12", "state": "failed", "host": "elsewhere", "stage_keys": {"cams": "a" * 16}}
    RunFiles(store.uri, "voc12").write_json("run.json", run)

    shown = clipes("gc", "--older-than", "0d")
    assert [line.split()[:2] for line in shown.stdout.splitlines()] == [
        *(["stage", "files"], ["cams", "1"], ["masks", "1"], ["nothing", "is"])
    ]
    assert len(list(clipes.folder.rglob("*.parquet"))) == 3

    deleted = clipes("gc", "--older-than", "0d", "--yes")
    assert (deleted.returncode, deleted.stdout.splitlines()[-1]) == (0, "deleted")
    assert [path.parts[-3] for path in clipes.folder.rglob("*.parquet")] == ["cams"]


def test_the_error_about_an_unknown_run_lists_the_existing_runs(finished):
    done = finished("status", "voc13")
    assert done.returncode == 2
    assert "no run voc13 in ./clipes-store; did you mean voc12? existing runs: voc12" in done.stderr


def test_doctor_fails_and_names_the_missing_weights(clipes):
    done = clipes("doctor", "--pretrained", "nothing.pt")
    assert done.returncode == 1
    printed = " ".join(done.stdout.split())  # details are wrapped
    assert "nothing.pt" in printed
    assert "can be written" in printed
    assert "answers" in printed


def test_a_run_reports_a_prefect_server_that_does_not_answer(clipes, scene_arguments):
    offline = type(clipes)(clipes.folder, {**clipes.environment, "PREFECT_API_URL": "http://127.0.0.1:9/api"})
    done = offline(*scene_arguments)
    assert done.returncode == 2
    assert "PREFECT_API_URL: http://127.0.0.1:9/api does not answer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "cam.pover=1"], "cam.pover: unknown key"),
        (["--until", "mask"], "--until mask: no such stage"),
        (["--set", "dataset.classes=voc13"], "no vocabulary 'voc13'"),
        (["--set", "dataset.root=/none"], "no split file at /none/ImageSets"),
        (["--plan", "--set", "dataset.root=/none"], "no split file at /none/ImageSets"),
        (["--set", "dataset.format=list", "--set", "dataset.split=nine.csv"], "nine.csv exists neither in"),
        (["--plan", "--set", "execution.runner.kind=cluster"], "execution.runner.kind: Input should be"),
        (
            ["--set", "clip.model=RN50", "--set", "cam.refine=caa", "--set", "dataset.root=/none"],
            "cam.refine caa: RN50 is",
        ),
        (["--set", "clip.model=RN51", "--set", "dataset.root=/none"], "clip.model RN51: expected the name of a model"),
        (["--plan", "--set", "execution.runner.address=auto"], "execution.runner.address: unknown key"),
    ],
)
def test_a_user_error_is_reported_before_torch_is_imported(configs, tmp_path, arguments, message):
    command = [
        sys.executable,
        "-c",
        PRINT_WHETHER_TORCH_IS_LOADED,
        "run",
        str(configs / "voc12.yaml"),
        "--set",
        f"dataset.root={tmp_path}",
    ]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stdout.split() == ["False"]


@pytest.mark.parametrize("command", [("run",), ("run", "--plan"), ("prompts",)])
@pytest.mark.parametrize("place", ["store", "store/a"])
def test_a_store_that_is_a_file_is_reported_before_anything_is_generated_or_imported(configs, tmp_path, command, place):
    (tmp_path / "store").touch()
    program = PRINT_WHETHER_TORCH_IS_LOADED.replace('"torch" in', '"torch" in sys.modules or "prefect" in')
    arguments = [*command, str(configs / "demo.yaml"), "--store", place]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout.split()) == (1, ["False"]), done.stderr
    assert done.stderr.startswith(f"clipes: store: {tmp_path}/{place} cannot be used (")
    assert done.stderr.endswith(
        f"'{tmp_path}/store'); a file is where a folder must be: move it or choose another location\n"
    )


def test_a_plan_imports_neither_torch_nor_prefect(configs, tmp_path):
    """This holds also if the run would train a segmenter. Only the run itself tries the training."""
    program = PRINT_WHETHER_TORCH_IS_LOADED.replace('"torch" in sys.modules', "HEAVY & {*sys.modules}")
    program = f"HEAVY = {{'torch', 'open_clip', 'mmseg', 'prefect', 'pandas'}}\n{program}"
    arguments = ["run", str(configs / "demo.yaml"), "--plan", *settings("dataset.count=2", "evaluation.count=2")]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_run_that_reuses_everything_loads_no_network(finished, scene_arguments):
    """The local runner starts no worker process for it either, because a worker that has loaded CLIP takes seconds."""
    program = PRINT_WHETHER_TORCH_IS_LOADED.replace(
        '"torch" in sys.modules', "HEAVY & {*sys.modules}, psutil.Process().children(recursive=True)"
    )
    program = f"import psutil\nHEAVY = {{'torch', 'open_clip', 'mmseg', 'pydensecrf', 'numba'}}\n{program}"
    again = ClipesProcess(finished.folder, finished.environment, (sys.executable, "-c", program))
    done = again(*scene_arguments, *FAST, "--name", "again")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set() []"


@pytest.mark.parametrize(
    "arguments",
    [("status", "none"), ("report", "none"), ("export", "none", "--to", "x"), ("predict", "none", ".", "--to", "x")],
)
def test_an_unknown_run_is_reported_before_anything_large_is_imported(tmp_path, arguments):
    program = PRINT_WHETHER_TORCH_IS_LOADED.replace('"torch" in sys.modules', "HEAVY & {*sys.modules}")
    program = f"HEAVY = {{'torch', 'open_clip', 'mmseg', 'prefect', 'pandas'}}\n{program}"
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "set()\n"), done.stderr
    assert done.stderr.startswith("clipes: no run none in ./clipes-store, which does not exist")


def test_the_runs_of_a_store_are_listed(finished, clipes, tmp_path):
    listed = finished("runs")
    assert listed.returncode == 0, listed.stderr
    assert "voc12" in listed.stdout
    empty = clipes("runs", "--store", str(tmp_path / "empty"))
    assert (empty.returncode, empty.stderr) == (
        2,
        f"clipes: no runs in {tmp_path}/empty: name another store with --store\n",
    )


def test_the_version_is_printed(clipes):
    assert clipes("--version").stdout == f"clipes {__version__}\n"


def test_the_usage_names_the_program(clipes):
    done = clipes("--help")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].strip() == "Usage: clipes [OPTIONS] COMMAND [ARGS]..."


def test_an_unknown_command_is_reported_with_similar_ones(clipes):
    done = clipes("statsu")
    message = "clipes: No such command 'statsu'. Did you mean 'status'?\nclipes: clipes --help lists the commands\n"
    assert (done.returncode, done.stderr) == (2, message)


def test_a_run_without_prefect_api_url_starts_and_stops_its_own_server(clipes_process, scene_arguments, tmp_path):
    clipes = clipes_process
    with_own_server = type(clipes)(
        clipes.folder, {**clipes.environment, "PREFECT_API_URL": "", "PREFECT_HOME": str(tmp_path)}
    )
    done = with_own_server(*scene_arguments, "--until", "texts")
    assert done.returncode == 0, done.stderr
    assert all_end_within(10, processes_of_home(tmp_path))


INTERRUPTED_COMMAND = (sys.executable, str(Path(__file__).parents[1] / "support" / "interrupted_command.py"))
CTRL_C, SIGTERM = SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def start_command(clipes_process):
    """Return a function that starts a command, waits until its work has begun, and returns its process."""
    started = []

    def start(command, seconds, *wrapper):
        process = replace(clipes_process, program=(*wrapper, *INTERRUPTED_COMMAND)).start(*command.split(), seconds)
        started.append(process)
        assert process.stdout.readline() == "begun\n", process.communicate()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def let_continue(process):
    process.stdin.write("1")
    process.stdin.flush()


def wait_for_end(process):
    """Return the exit code, and what the process printed to stdout and stderr since the last read."""
    return process.wait(timeout=60), process.stdout.read(), process.stderr.read()


def signal_or_text_id(value):
    return getattr(value, "name", value)


@pytest.mark.parametrize(
    ("command", "first", "second"),
    [*product(("hold", "hold-in-a-flow"), SIGNALS, SIGNALS), *product(["hold-around-a-flow"], SIGNALS, [SIGTERM])],
    ids=signal_or_text_id,
)
def test_a_second_signal_ends_a_command_at_once_while_it_closes(start_command, command, first, second):
    process = start_command(command, "0")
    process.send_signal(first)
    assert process.stdout.readline() == "closing\n"
    process.send_signal(second)
    assert wait_for_end(process) == (130, "", "clipes: ended at once; finished work is kept\n")


@pytest.mark.parametrize(
    ("command", "first"),
    [("hold", CTRL_C), ("hold-in-a-flow", SIGTERM), ("hold-around-a-flow", SIGTERM)],
    ids=signal_or_text_id,
)
def test_signals_in_quick_succession_count_as_one(start_command, command, first):
    process = start_command(command, "inf")
    process.send_signal(first)
    assert process.stdout.readline() == "closing\n"
    for number in SIGNALS:
        process.send_signal(number)
    let_continue(process)
    message = "clipes: interrupted; finished work is kept: run the same command again to resume\n"
    assert wait_for_end(process) == (130, "closed\n", message)


def test_the_advice_on_resuming_a_fresh_run_leaves_out_fresh(start_command):
    process = start_command("hold --fresh", "inf")
    process.send_signal(CTRL_C)
    assert process.stdout.readline() == "closing\n"
    let_continue(process)
    assert wait_for_end(process)[2].endswith("run the same command again, without --fresh, to resume\n")


def test_a_second_signal_ends_a_command_whose_stderr_is_closed(start_command):
    process = start_command("hold", "0")
    process.send_signal(SIGTERM)
    assert process.stdout.readline() == "closing\n"
    process.stderr.close()
    process.send_signal(SIGTERM)
    assert process.wait(timeout=60) == 130


def test_a_background_job_of_a_shell_ignores_ctrl_c_but_not_sigterm(start_command):
    process = start_command("hold", "0", "sh", "-c", 'trap "" INT; exec "$@"', "sh")
    process.send_signal(CTRL_C)
    let_continue(process)
    assert process.stdout.readline() == "closing\n"
    process.send_signal(CTRL_C)
    let_continue(process)
    assert wait_for_end(process) == (0, "closed\n", "")
