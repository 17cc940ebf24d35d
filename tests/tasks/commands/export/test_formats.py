"""The table of export formats, and the command that reads it."""

import subprocess
import sys

import numpy as np
import pytest
from support.commands import without_announcements
from typer.testing import CliRunner

from clipes.flows.cli import app
from clipes.tasks.commands.export.formats import FORMATS, ExportFormat, export_run
from clipes.tasks.commands.export.pseudo_masks import PseudoMasks
from clipes_core.errors import ConfigError

KNOWN = ", ".join(map(repr, list(FORMATS)[:-1])) + f" or '{list(FORMATS)[-1]}'"


def export(request):
    """Write the pixels per class of each photo to a text file."""
    masks = PseudoMasks(request)
    masks.check(of_photo=lambda image_id: [f"{image_id}.txt"])
    for photo in masks:
        content = " ".join(map(str, np.bincount(photo.ids.ravel())))
        request.output.write(f"{photo.image_id}.txt", content.encode())
    return masks.outcome()


def test_a_new_format_is_a_module_and_a_line_in_the_table(tiny, run_of, monkeypatch):
    monkeypatch.setitem(FORMATS, "toy", ExportFormat(__name__, "pixels per class"))
    for name in "ab":
        tiny.add(name)
    store, name = run_of(lost="b")

    done = CliRunner().invoke(
        app, ["export", name, "--format", "toy", "--to", str(tiny.folder / "out"), "--store", store]
    )

    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tiny.folder / "out").iterdir()) == [
        "SHA256SUMS",
        "a.txt",
        "classes.json",
        "manifest.json",
    ]
    file = tiny.folder / "out" / "a.txt"
    assert sum(map(int, file.read_text().split())) == 64 * 48
    assert done.output.startswith(f"1 masks in {tiny.folder}/out, 1 photos without a mask")


def test_the_error_for_an_unknown_format_lists_the_known_ones():
    with pytest.raises(ConfigError, match=rf"^--format: Input should be {KNOWN} \(got 'png'\)$"):
        export_run("png", "store", "run", "to", 0)


def test_the_help_lists_the_formats():
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["export", "--help"])
    text = " ".join(done.output.replace("│", " ").split())
    for name, entry in FORMATS.items():
        assert f"{name}: {entry.contents.split()[0]}" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "png"], f"--format: Input should be {KNOWN} (got 'png')"),
        (
            ["--segmenter", "--photos"],
            "--format voc-server takes none of the options --confidence, --photos and --only",
        ),
        (
            ["--format", "voc", "--segmenter"],
            "--segmenter means --format voc-server, not voc: leave out one of the two",
        ),
        (["--only", "bad"], "--only: got 'bad'; the only value is to-check"),
        (
            ["--segmenter"],
            "no run nobody in ./clipes-store, which does not exist: name the store of the run with --store",
        ),
    ],
)
def test_usage_errors_exit_with_2_before_torch_is_loaded(tmp_path, arguments, message):
    code = "import sys; from clipes.flows.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, "export", "nobody", "--to", "out", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert without_announcements(done.stderr) == f"clipes: {message}\n"
