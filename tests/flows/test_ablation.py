"""`clipes ablate` on a few generated scenes, with a real Prefect server."""

import json

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter
from prefect.settings import PREFECT_API_URL, temporary_settings
from support.commands import settings

GRID = """
title: Refinement and CRF
settings: {train.enabled: false}
variants:
  none: {cam.refine: none, crf.enabled: false}
  CAA: {crf.enabled: false}
  CAA + CRF: {}
show: [initial_cam, refined_cam, pseudo_mask, pseudo_mask.boat, pseudo_mask.zebra, sharpness, cams.seconds]
"""
RUNS = ("demo-mine-none", "demo-mine-caa", "demo-mine-caa-crf")


@pytest.fixture(scope="module")
def ablated(clipes_in, tmp_path_factory, configs):
    """Run an ablation of six scenes, and return the command in its folder, its arguments, its plan and its output."""
    clipes = clipes_in(tmp_path_factory.mktemp("ablated"))
    (clipes.folder / "mine.yaml").write_text(GRID)
    sample = settings("dataset.count=6", "execution.shards=2")
    arguments = ("ablate", str(configs / "demo.yaml"), "--grid", "mine.yaml", *sample)
    plan = clipes(*arguments, *settings("execution.shards=8"), "--plan")
    assert plan.returncode == 0, plan.stderr
    done = clipes(*arguments)
    assert done.returncode == 0, done.stderr
    return clipes, arguments, plan, done


def file_of(clipes, run, name):
    return clipes.folder / "clipes-store" / "runs" / run / name


def result_of(clipes):
    return json.loads(file_of(clipes, "demo-mine", "ablation.json").read_text())


@pytest.mark.slow
def test_the_plan_counts_a_shared_artifact_once(ablated):
    rows = [line.split() for line in ablated[2].stdout.splitlines()]
    assert rows[0] == ["run", "texts", "cams", "masks", "mask_scores"]
    assert rows[1:4] == [
        [RUNS[0], "20", "6", "6", "6"],
        [RUNS[1], "shared", "6", "6", "6"],
        [RUNS[2], "shared", "shared", "6", "6"],
    ]
    assert rows[4] == ["computed", "in", "all", "20", "12", "18", "18"]


@pytest.mark.slow
def test_the_plan_logs_a_message_about_all_runs_once(ablated):
    assert ablated[2].stderr.count("4 shards instead of execution.shards=8, because there are only 6 photos") == 1


@pytest.mark.slow
def test_each_variant_has_a_run_of_its_own_whose_figures_are_in_the_table(ablated):
    clipes, _, _, done = ablated
    (none, caa, crf) = result_of(clipes)["variants"]
    assert [each["runs"][0]["name"] for each in (none, caa, crf)] == list(RUNS)
    for each in (none, caa, crf):
        (run,) = each["runs"]
        metrics = json.loads(file_of(clipes, run["name"], "metrics.json").read_text())
        assert run["metrics"]["pseudo_mask"] == metrics["pseudo_mask"]
        assert 0 < run["metrics"]["sharpness"] < 1
        assert f"{100 * metrics['pseudo_mask']['miou']:.1f}" in done.stdout
    assert none["runs"][0]["metrics"]["initial_cam"] == crf["runs"][0]["metrics"]["initial_cam"]
    costs = [each["runs"][0]["metrics"]["stages"]["cams"]["seconds_per_row"] for each in (caa, crf)]
    assert costs[0] == costs[1] > 0  # the second run has reused the CAMs of the first
    assert "the data set has no zebra; these columns are left out" in done.stderr
    assert result_of(clipes)["grid"]["show"] == [
        *("initial_cam", "refined_cam", "pseudo_mask", "pseudo_mask.boat", "sharpness", "cams.seconds")
    ]


@pytest.mark.slow
def test_the_flow_runs_of_the_variants_belong_to_that_of_the_ablation(ablated, server_environment):
    with (
        temporary_settings({PREFECT_API_URL: server_environment["PREFECT_API_URL"]}),
        get_client(sync_client=True) as client,
    ):
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter(name={"any_": ["demo-mine", *RUNS]}))
        (whole,) = (run for run in found if run.name == "demo-mine")
        parts = [run for run in found if run.name in RUNS]
        callers = {client.read_task_run(run.parent_task_run_id).flow_run_id for run in parts}
        (table,) = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["demo-mine-table"]))
        )
    assert sorted(run.name for run in parts) == sorted(RUNS)
    assert callers == {whole.id}
    assert {run.state_name for run in found} == {"Completed"}
    assert table.flow_run_id == whole.id
    assert "CAA + CRF" in table.data


@pytest.mark.slow
def test_an_ablation_can_be_inspected_like_a_run(ablated):
    clipes, _, _, done = ablated
    status = clipes("status", "demo-mine")
    assert status.returncode == 0, status.stderr
    assert "demo-mine: completed" in status.stdout
    table = done.stdout.partition("files:")[0]
    assert table.strip() in status.stdout
    listed = {run["name"]: run for run in json.loads(clipes("runs", "--json").stdout)}
    assert listed.keys() == {"demo-mine", *RUNS}
    assert listed["demo-mine"]["photos"] == 6
    page = file_of(clipes, "demo-mine", "report.html")
    before = page.read_text()
    page.unlink()
    assert clipes("report", "demo-mine").returncode == 0
    assert page.read_text() == before
    refused = clipes("export", "demo-mine", "--to", "masks")
    assert refused.returncode == 2
    assert f"demo-mine is an ablation; name one of its runs: {', '.join(RUNS)}" in refused.stderr


@pytest.mark.slow
def test_a_second_call_computes_nothing(ablated):
    clipes, arguments, _, _ = ablated
    first = result_of(clipes)
    again = clipes(*arguments)
    assert again.returncode == 0, again.stderr
    for run in RUNS:
        stages = json.loads(file_of(clipes, run, "metrics.json").read_text())["stages"]
        assert {
            name: counts["computed_rows"] for name, counts in stages.items() if name != "manifest"
        } == dict.fromkeys(("texts", "cams", "masks", "mask_scores"), 0)
    assert [each["runs"][0]["metrics"]["pseudo_mask"] for each in result_of(clipes)["variants"]] == [
        each["runs"][0]["metrics"]["pseudo_mask"] for each in first["variants"]
    ]


@pytest.mark.slow
def test_a_variant_that_fails_does_not_stop_the_others(ablated):
    clipes, arguments, _, _ = ablated
    mixed = "title: T\nsettings: {train.enabled: false}\nshow: [cams.seconds]\nvariants:\n"
    mixed += '  too long: {prompts.template: "' + "very " * 80 + '{}"}\n  short: {}\n'
    (clipes.folder / "mixed.yaml").write_text(mixed)
    done = clipes(*("mixed.yaml" if each == "mine.yaml" else each for each in arguments))
    assert done.returncode == 1
    assert "1 of 2 runs failed; the first is demo-mixed-too-long" in done.stderr
    assert "To resume: clipes ablate" in done.stderr
    assert "has more than the 32 tokens that CLIP reads" in done.stdout
    assert json.loads(clipes("status", "demo-mixed", "--json").stdout)["state"] == "failed"
    assert clipes("status", "demo-mixed-short").returncode == 0


@pytest.mark.slow
def test_only_keeps_the_variants_of_earlier_calls_whose_settings_are_the_same(ablated):
    clipes, arguments, _, _ = ablated
    whole = clipes(*arguments)
    before = result_of(clipes)
    done = clipes(*arguments, "--only", "CAA")
    assert done.returncode == 0, done.stderr
    assert result_of(clipes)["grid"] == before["grid"]
    for one, other in zip(before["variants"], result_of(clipes)["variants"], strict=True):
        assert one["variant"] == other["variant"]
        (first,), (second,) = one["runs"], other["runs"]
        assert first["report"] == second["report"]
        assert all(first["metrics"].get(key) == second["metrics"].get(key) for key in ("pseudo_mask", "sharpness"))
    table = whole.stdout.partition("files:")[0]
    assert done.stdout.startswith(table)
    assert table.strip() in clipes("status", "demo-mine").stdout
    changed = clipes(*arguments, "--set", "cam.power=1", "--only", "CAA")
    assert changed.returncode == 0, changed.stderr
    assert [each["variant"]["label"] for each in result_of(clipes)["variants"]] == ["CAA"]
    assert 'Variants of the grid without a run so far: "none", "CAA + CRF".' in changed.stdout
