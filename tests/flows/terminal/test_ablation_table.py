import io

from clipes.flows.terminal.ablation_table import print_ablation
from clipes.tasks.ablation.grid import Grid
from clipes.tasks.ablation.result import AblationResult, VariantResult, VariantRun
from clipes.tasks.machine.terminal import TerminalConsole
from clipes_core.config.run import check_section

KEYS = {
    "name": "mine",
    "title": "MHSA and CAA",
    "paper": "The paper says so.",
    "variants": {"MHSA": {}, "CAA": {}},
    "show": ["refined_cam"],
    "published": {"MHSA": {"refined_cam": "voc_train_mhsa"}, "CAA": {"refined_cam": "voc_train_caa"}},
}


def printed(mious, scores=None, **keys) -> list[str]:
    """Print an ablation with an mIoU, or the reason of a failure, for each variant."""
    grid, variants = check_section(Grid, {**KEYS, **keys}), []
    for variant, miou in zip(grid.all_variants, mious, strict=True):
        failed, metrics = (
            (miou, {}) if isinstance(miou, str) else (None, {"refined_cam": {"miou": miou, **(scores or {})}})
        )
        run = VariantRun({}, f"mine-{variant.label}", "/runs/mine", None, metrics, failed)
        variants.append(VariantResult(variant, (run,)))
    stream = io.StringIO()
    print_ablation(
        TerminalConsole(stream, soft_wrap=True), AblationResult(grid, "mine", "/runs/mine", "scenes", tuple(variants))
    )
    return [" ".join(line.split()) for line in stream.getvalue().splitlines()]


def test_the_table_is_printed_with_differences_the_paper_and_the_agreement(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    lines = printed((0.42, 0.436))
    assert lines[:4] == [
        "MHSA and CAA",
        "variant refined CAM +/- paper",
        "MHSA 42.0 ref. 68.2",
        "CAA 43.6 +1.6 70.8",
    ]
    assert "The order is the same as in the paper for 1 of 1 pairs of numbers." in lines
    assert not any(line.startswith("Agrees") for line in lines)
    assert lines[-1] == "The paper says so."


def test_disagreements_and_failures_are_printed(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert any(line.startswith("Disagrees with the paper: refined CAM: MHSA < CAA") for line in printed((0.5, 0.4)))
    lines = printed((0.5, "out of memory"))
    assert "CAA – 70.8" in lines
    assert "mine-CAA failed: out of memory" in lines


def test_long_headings_are_wrapped(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    lines = printed((0.5, 0.4), {"class_iou": {"balloon": 0.25}}, show=["refined_cam.balloon"], published={})
    assert lines[1:5] == ["balloon", "(refined", "variant CAM)", "MHSA 25.0"]
