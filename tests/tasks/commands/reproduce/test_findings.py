from clipes.tasks.commands.finding import Finding
from clipes.tasks.commands.reproduce.deviations import PAPER
from clipes.tasks.commands.reproduce.findings import check_reproduction, deviations
from clipes.tasks.commands.reproduce.paper_config import paper_runs


def test_only_differences_from_the_paper_are_deviations():
    findings = [
        Finding("true masks", None, "no photo has the class sheep: correct the labels"),
        Finding(PAPER, True, "train has the paper's 1464 photos"),
        Finding(PAPER, None, "other weights"),
        Finding(PAPER, None, "other photos"),
        Finding(PAPER, None, "other weights"),
    ]
    assert deviations(findings) == ("other weights", "other photos")


def test_the_weights_come_before_the_photos_and_the_photos_before_the_settings(scene_photos, seeded_weights, tmp_path):
    given = {
        "dataset": {"root": str(scene_photos)},
        "clip": {"pretrained": str(seeded_weights)},
        "store": str(tmp_path / "store"),
    }
    runs = paper_runs("voc12", "pseudo-masks", ("dataset.split=nine", "cam.power=1"), given)
    found = deviations(check_reproduction(runs))
    assert len(found) >= 3
    assert found[0].startswith("the weights of CLIP are seeded_vit.pt")
    assert found[1].startswith("the split nine (9 photos) is not one of the paper's splits")
    assert found[-1] == "cam.power is 1; the paper's value is 2"
