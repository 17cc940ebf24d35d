"""The shipped DeepLabV2 with ResNet-101, killed while it trains on masks of real photos."""

import pytest
from PIL import Image
from support.small_runs import TINY_NETWORK, TinyPhotos
from support.small_trainings import SmallTraining, failed_attempt, killer, result_of, same_weights, training_work

from clipes.tasks.plan.caching import Reuse
from clipes_core.errors import WorkerError

DEEPLAB = TINY_NETWORK.parent / "deeplab_crop.py"
PHOTOS = {"2007_000063": "dog;chair", "2007_000068": "bird", "2007_000256": "aeroplane"}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_deeplab_killed_at_iteration_20_of_30_is_resumed(tmp_path, real_data, golden):
    photo = Image.open(real_data / "JPEGImages" / "2007_000068.jpg").convert("RGB")
    small = SmallTraining(TinyPhotos(tmp_path, photo, golden / "small_vit.pt"))
    lines = [f"{image_id}.jpg,{labels}" for image_id, labels in PHOTOS.items()]
    (tmp_path / "real.csv").write_text("\n".join(("image,labels", *lines, "")))
    settings = {
        "dataset": {"root": str(real_data / "JPEGImages"), "split": str(tmp_path / "real.csv")},
        "train": {
            "mmseg_config": str(DEEPLAB),
            "iterations": 30,
            "checkpoint_every": 9,  # rounded up to 10, because the optimizer steps after two batches
            "keep_checkpoints": 1,
        },
        "evaluation": {"root": str(tmp_path)},
    }
    run = small.prepared(**settings)
    with training_work(run) as work:
        expected = result_of(run, work.make(0))
    run = small.prepared(Reuse(fresh=True), **settings)
    with training_work(run) as work:
        with small.blocked():
            error = failed_attempt(work, killer())
        assert isinstance(error, WorkerError)
        result = result_of(run, work.make(0))

    assert expected.facts["parameters"] == 42_500_160 + 4 * (2048 * 9 * 21 + 21)
    assert expected.checkpoints == {"00000030.pt", "best.pt"}
    assert (expected.facts["resumed_at"], result.facts["resumed_at"]) == (0, 20)
    curves = [[point["loss"] for point in each.curve] for each in (result, expected)]
    assert curves[0] == pytest.approx(curves[1], abs=1e-4)
    assert same_weights(result, expected, atol=1e-4)
