"""`clipes estimate` on nine scenes."""

import pytest
from support.run_contents import RUN
from support.voc_scenes import NINE

from clipes.tasks.commands.estimate.measurement_file import MEASUREMENT
from clipes.tasks.storage.run_files import RunFiles, read_estimate


@pytest.fixture
def estimate(clipes, scene_arguments):
    """Return the command `estimate` for nine scenes."""
    return lambda *options: clipes("estimate", *scene_arguments[1:], "--sample", "4", *options)


def test_a_sample_is_measured_once_and_forecast_for_any_number_of_photos(estimate, clipes):
    first = estimate()
    assert first.returncode == 0, first.stderr
    assert "measured on 8 photos" in first.stdout, first.stdout  # at least eight for each worker
    assert "9 photos: " in first.stdout
    files = RunFiles(str(clipes.folder / "clipes-store"), "voc12-estimate")
    measured = MEASUREMENT.validate_python(read_estimate(files)["measurement"])
    assert [stage.stage for stage in measured.stages] == ["cams", "masks", "mask_scores"]
    assert all(stage.cpu_seconds > 0 and stage.stored_bytes > 0 for stage in measured.stages)
    started = files.read_run()["started"]

    many = estimate("--photos", "2000000", "--cores", "128", "--set", "name=voc12-{time}")
    assert many.returncode == 0, many.stderr
    assert "2000000 photos" in many.stdout
    assert "time with 128 cores:" in many.stdout
    assert [folder.name for folder in (clipes.folder / "clipes-store" / "runs").iterdir()] == ["voc12-estimate"]

    RunFiles(files.store_uri, "voc12").write_json("run.json", {**RUN, "shards": 3})
    # The process of the flow reads 300 bytes for each row, and 5,000 for each shard, of three stages.
    kept, fresh = (estimate("--set", "execution.shards=auto", *given) for given in ((), ("--photos", "9")))
    assert "reads and sends about 98.1 kB" in kept.stdout, kept.stderr
    assert "reads and sends about 128.1 kB" in fresh.stdout, fresh.stderr
    assert files.read_run()["started"] == started  # the sample was not run again


def test_gpus_are_refused_if_none_can_be_measured(estimate):
    refused = estimate("--set", "clip.device=cpu", "--gpus", "8")
    assert refused.returncode == 2
    assert "--gpus 8: this machine has no GPU" in refused.stderr


def test_photos_that_cannot_be_used_do_not_fail_the_sample_but_are_reported(estimate, tmp_path):
    (tmp_path / "ten.txt").write_text("".join(f"{name}\n" for name in (*NINE, "missing")))
    found = estimate("--set", f"dataset.split={tmp_path / 'ten.txt'}", "--sample", "10")
    assert found.returncode == 0, found.stderr
    assert "photos that cannot be used: 1; first reason: missing: " in found.stdout
    assert "9 photos: " in found.stdout


def test_a_data_set_without_usable_photos_is_reported(estimate, tmp_path):
    (tmp_path / "two.txt").write_text("missing\nalso_missing\n")
    failed = estimate("--set", f"dataset.split={tmp_path / 'two.txt'}")
    assert failed.returncode == 2
    assert failed.stderr.startswith("clipes: dataset: no photo can be used; reason for the first of 2 rejects: ")
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value"), [("--photos", "0"), ("--cores", "-1"), ("--gpus", "-1"), ("--sample", "1"), ("--photos", "x")]
)
def test_impossible_numbers_are_refused(estimate, option, value):
    refused = estimate(option, value)
    assert refused.returncode == 2
    assert f"Invalid value for '{option}'" in refused.stderr
    assert not refused.stdout


def test_missing_weights_are_reported_in_one_line(estimate):
    failed = estimate("--set", "clip.pretrained=/nowhere/clip.pt")
    assert failed.returncode == 2
    assert failed.stderr.startswith("clipes: clip.pretrained ")
    assert failed.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_store_on_s3_keeps_the_measurement(estimate, s3_folder):
    first, second = (estimate("--store", f"{s3_folder}/store", "--photos", "1000") for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert "1000 photos: " in first.stdout
    measured = MEASUREMENT.validate_python(
        read_estimate(RunFiles(f"{s3_folder}/store", "voc12-estimate"))["measurement"]
    )
    assert all(stage.stored_bytes > 0 for stage in measured.stages)
