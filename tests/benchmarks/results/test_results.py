"""The sections of docs/results.md, made from constructed results, and the whole page, made from tiny runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clipes.tasks.ablation.grid import Grid
from clipes.tasks.ablation.result import AblationResult, VariantResult, VariantRun
from clipes.tasks.ablation.tables.table import table_of
from clipes_core.config.run import check_section
from clipes_core.evaluation.photos_to_check import Reason

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def result_of(metrics, **keys) -> AblationResult:
    """Return a result: label -> metrics of each run."""
    grid = check_section(Grid, {"name": "one", "title": "One", **keys})
    variants = tuple(
        VariantResult(
            variant,
            tuple(
                VariantRun({"dataset.seed": seed}, variant.label, "/runs", None, found)
                for seed, found in enumerate(metrics[variant.label])
            ),
        )
        for variant in grid.all_variants
    )
    return AblationResult(grid, "results-one", "/runs/results-one", "200 scenes", variants)


def refinements(mhsa, caa) -> AblationResult:
    """Return MHSA and CAA, each with the mIoUs of its seeds."""
    return result_of(
        {label: [{"refined_cam": {"miou": miou}} for miou in mious] for label, mious in (("MHSA", mhsa), ("CAA", caa))},
        about="Two refinements.",
        variants={"MHSA": {"cam.refine": "mhsa"}, "CAA": {}},
        show=["refined_cam"],
        published={"MHSA": {"refined_cam": "voc_train_mhsa"}, "CAA": {"refined_cam": "voc_train_caa"}},
    )


def losses(cgl, ce) -> AblationResult:
    """Return two losses, each with the mIoUs of its seeds."""
    return result_of(
        {
            label: [{"segmenter": {"miou": miou}, "training": {"kept_fraction": 0.98}} for miou in mious]
            for label, mious in (("CGL", cgl), ("cross entropy", ce))
        },
        axes={"loss": {"CGL": {}, "cross entropy": {"train.loss": "ce"}}},
        show=["segmenter"],
    )


def test_the_page_says_which_orders_of_the_paper_hold():
    from benchmarks.results.grids import agreement_section

    good, bad = table_of(refinements((0.4, 0.44), (0.43, 0.42))), table_of(refinements((0.4,), (0.3,)))
    lines = agreement_section({"good": good, "bad": bad})
    assert "1 of 2 orders agree" in " ".join(lines)
    assert lines[-2:] == [
        "| **disagrees** | bad | refined CAM: MHSA < CAA | 68.2, 70.8 | 40.0, 30.0 | 0 of 1 | −10.0 |",
        "| agrees | good | refined CAM: MHSA < CAA | 68.2, 70.8 | 42.0, 42.5 | 1 of 2 | +0.5 (−2.0 to +3.0) |",
    ]


def test_an_order_that_two_grids_have_in_common_counts_once():
    from benchmarks.results.grids import agreement_section

    one, same, other = (table_of(refinements((0.4, 0.44), (caa, 0.42))) for caa in (0.43, 0.43, 0.44))
    lines = agreement_section({"one": one, "same": same, "other": other})
    assert "2 of 2 orders agree" in " ".join(lines)
    assert [line.split(" | ")[1] for line in lines[-2:]] == ["one", "other"]


def test_the_section_of_a_grid_has_its_table_and_names_only_disagreements():
    from benchmarks.results.grids import grid_section

    text = "\n".join(grid_section("one", table_of(refinements((0.4,), (0.3,)))))
    assert "`clipes ablate configs/demo.yaml --grid one`, with each seed. Two refinements." in text
    assert "| CAA | 30.0 | −10.0 | 70.8 |" in text
    assert "- Disagrees with the paper: refined CAM: MHSA < CAA" in text
    assert max(map(len, text.splitlines())) <= 120
    assert "Agrees" not in "\n".join(grid_section("one", table_of(refinements((0.3,), (0.4,)))))


@pytest.mark.parametrize(
    ("ce", "verdict"),
    [
        (
            (0.46, 0.47),
            "by 0.5 points on average, the seeds of a loss by up to 2.0: the runs do not show which",
        ),
        ((0.36, 0.37), "by 9.5 points on average, the seeds of a loss by up to 2.0: the losses differ clearly."),
    ],
)
def test_the_losses_are_compared_with_the_spread_over_the_seeds(ce, verdict):
    from benchmarks.results.grids import segmenter_section

    text = " ".join(segmenter_section(losses((0.45, 0.47), ce)))
    assert text.startswith("## The segmenter")
    assert verdict in text
    assert "With CGL, 98.0% of the labelled pixels count in the loss" in text
    assert "points on average" not in " ".join(segmenter_section(losses((0.45,), (0.47,))))  # one seed has no spread


def test_the_verdict_on_sharpness_counts_the_seeds_with_the_sign_of_the_paper():
    from benchmarks.results.sharpness import verdict

    def ranking(initial, refined):
        return {"facts": {"spearman_initial": initial, "spearman_refined": refined}}

    initial, refined = verdict({0: ranking(-0.5, 0.4), 1: ranking(-0.1, None), 2: ranking(-0.2, 0.1)})
    assert initial == "For the initial CAMs, the correlation is negative for 3 of 3 seeds, as in the paper."
    assert refined == "For the refined CAMs, the correlation is negative for 0 of 2 seeds, unlike in the paper."
    assert "1 of 2 seeds, only in part as in" in verdict({0: ranking(-0.5, 0.4), 1: ranking(0.1, -0.1)})[0]


def test_the_photos_to_check_are_counted():
    from benchmarks.results.photos_to_check import Photo, check_section

    sign = next(iter(Reason))
    photos = [Photo(0.1, frozenset({sign})), Photo(0.2, frozenset()), Photo(0.7, frozenset()), Photo(0.5, frozenset())]
    lines = check_section({0: photos})
    assert "| 0 | 2 | 1 (50%) | 1 of 4 (25%) | 10.0 | 46.7 |" in lines
    assert lines[-1].endswith("| 1 | 1 | 10.0 |")


@pytest.mark.slow
def test_the_page_is_written_from_tiny_runs(tmp_path, server_environment):
    settings = (
        *("dataset.count=4", "evaluation.count=2", "train.iterations=2", "execution.shards=1"),
        *("execution.loader_workers=0", "execution.runner.kind=inline"),
    )
    call = [
        *(sys.executable, "-m", "benchmarks.results", "--seeds", "0", "--check-seeds", "0", "--train-seeds", "0"),
        *("--grids", "pooling", "table7", "--store", str(tmp_path / "store"), "--to", str(tmp_path / "results.md")),
        *(word for setting in settings for word in ("--set", setting)),
    ]
    done = subprocess.run(
        call, cwd=ROOT, env={**os.environ, **server_environment}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "results.md").read_text()
    headings = [line for line in page.splitlines() if line.startswith("#")]
    assert headings == [
        "# Results on the demo's scenes",
        "## Agreement with the paper",
        "## Appendix: class token and mean of the patches",
        "## Sharpness and mIoU of templates",
        "## Photos to check",
        "## The segmenter",
    ]
    assert "| class token |" in page
    assert "| cross entropy, with CRF |" in page
