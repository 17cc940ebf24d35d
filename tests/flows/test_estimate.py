"""`clipes estimate` on nine scenes."""

import pytest

from clipes.tasks.commands.estimate.sample import MEASUREMENT
from clipes.tasks.storage.run_files import RunFiles, read_estimate


@pytest.fixture
def estimate(clipes, scene_arguments):
    """Return the command `estimate` for nine scenes."""
    return lambda *options: clipes("estimate", *scene_arguments[1:], "--sample", "4", *options)


def test_a_sample_is_measured_once_and_forecast_for_any_number_of_photos(estimate, clipes):
    first = estimate()
    assert first.returncode == 0, first.stderr
    assert "measured on 8 photos" in first.stdout, first.stdout  # at least eight for each worker
    assert "9 photos: 0.0 GPU-hours" in first.stdout
    files = RunFiles(str(clipes.folder / "clipes-store"), "voc12-estimate")
    measured = MEASUREMENT.validate_python(read_estimate(files)["measurement"])
    assert [stage.stage for stage in measured.stages] == ["cams", "masks", "mask_scores"]
    assert all(stage.cpu_seconds > 0 and stage.stored_bytes > 0 for stage in measured.stages)
    started = files.read_run()["started"]

    many = estimate("--photos", "2000000", "--cores", "128")
    assert many.returncode == 0, many.stderr
    assert "2000000 photos" in many.stdout
    assert "time with 128 cores:" in many.stdout
    assert files.read_run()["started"] == started  # the sample was not run again


def test_gpus_are_refused_if_none_can_be_measured(estimate):
    refused = estimate("--set", "clip.device=cpu", "--gpus", "8")
    assert refused.returncode == 2
    assert "--gpus 8: this machine has no GPU" in refused.stderr


def test_a_failing_sample_is_reported(clipes, scene_arguments, tmp_path):
    (tmp_path / "nine.txt").write_text("missing\nalso_missing\n")
    failed = clipes("estimate", *scene_arguments[1:], "--set", f"dataset.split={tmp_path / 'nine.txt'}")
    assert failed.returncode != 0
    assert "Traceback" not in failed.stderr
