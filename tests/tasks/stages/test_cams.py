from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from support.pool_calls import worker_pool
from support.prepared import prepare_run
from support.small_runs import make_run
from support.voc_scenes import NINE, labels_of

from clipes.tasks.inputs.batches import compute_batch
from clipes.tasks.inputs.photos import LoadedPhoto, Photo
from clipes.tasks.machine.row_counters import Counters
from clipes.tasks.machine.worker_state import WorkerSlot
from clipes.tasks.models.clip import load_clip
from clipes.tasks.stages.cams import batch_cams
from clipes.tasks.stages.columns.cams import stored_cams
from clipes.tasks.stages.registry import STAGES
from clipes_core.backbones.vit import VitBackbone
from clipes_core.cams import photo_cams
from clipes_core.config.pseudo_masks import CamConfig, ClipConfig
from clipes_core.device import finish
from clipes_core.errors import ErrorKind, PhotoError, ShapeError
from clipes_core.text_features import TextFeatures
from clipes_core.views import Viewer, list_views


def cams_of(tiny, pool, **sections):
    return make_run(prepare_run(tiny.config(**sections), "cams"), pool).rows("cams")


def test_cams_and_scores_are_those_of_the_core(scenes_made, scene_photos, visual, texts):
    rows = scenes_made.rows("cams")

    assert rows.keys() == set(NINE)
    for image_id, row in rows.items():
        truth = np.array(Image.open(scene_photos / "SegmentationClass" / f"{image_id}.png"))
        assert row["class_ids"] == labels_of(truth)
        photo = Image.open(scene_photos / "JPEGImages" / f"{image_id}.jpg")
        (expected,) = photo_cams(VitBackbone(visual), texts, [photo], [row["class_ids"]], CamConfig())
        np.testing.assert_allclose(row["scores"], expected.scores, rtol=0, atol=1e-5)
        np.testing.assert_allclose(stored_cams(row, "cam"), expected.cam, rtol=0, atol=1e-3)
        np.testing.assert_allclose(stored_cams(row, "refined_cam"), expected.refined_cam, rtol=0, atol=1e-3)


def test_a_row_holds_the_sizes_of_photo_and_grid(scenes_made):
    row = scenes_made.rows("cams")["scene_02"]

    assert (row["height"], row["width"]) == (row["work_height"], row["work_width"]) == (100, 150)
    assert (row["grid_h"], row["grid_w"]) == (7, 10)  # 100 / 16 = 6.25, 150 / 16 = 9.4
    assert (row["status"], row["error"], row["error_kind"], row["notes"]) == ("ok", None, None, [])


def test_stored_cams_are_half_precision_at_grid_size(scenes_made):
    row = scenes_made.rows("cams")["scene_05"]

    assert len(row["cam"]) == len(row["refined_cam"]) == 3 * 7 * 10 * 2
    by_hand = np.frombuffer(row["cam"], "<f2").reshape(3, 7, 10)
    assert (stored_cams(row, "cam") == by_hand).all()
    assert stored_cams(row, "cam").dtype == np.float32
    assert stored_cams(row, "cam").max(axis=(1, 2)) == pytest.approx(1, abs=1e-3)


def test_a_cam_without_positive_values_is_zero(scenes_made):
    row = scenes_made.rows("cams")["scene_02"]
    assert not stored_cams(row, "cam").any()
    assert not stored_cams(row, "refined_cam").any()


def test_a_photo_without_objects_has_a_size_but_no_cams(tiny, pool):
    tiny.add("a", "")
    tiny.add("z")  # a data set needs a label

    row = cams_of(tiny, pool)["a"]

    assert row["status"] == "ok"
    assert (row["height"], row["width"], row["grid_h"], row["grid_w"]) == (48, 64, 3, 4)
    assert (row["class_ids"], row["scores"], row["cam"], row["refined_cam"]) == ([], [], b"", b"")
    assert stored_cams(row, "cam").shape == (0, 3, 4)


def test_cams_are_in_the_order_of_the_labels(tiny, pool):
    tiny.add("a", "cat;dog;bird")
    one = cams_of(tiny, pool)["a"]
    tiny.label("a", "bird;cat;dog")
    other = cams_of(tiny, pool)["a"]

    assert (one["class_ids"], other["class_ids"]) == ([8, 12, 3], [3, 8, 12])
    assert np.roll(one["scores"], 1) == pytest.approx(other["scores"], abs=1e-6)
    np.testing.assert_allclose(np.roll(stored_cams(one, "cam"), 1, axis=0), stored_cams(other, "cam"), atol=1e-3)


def test_a_large_photo_is_reduced_before_its_cams_are_computed(tiny, pool):
    tiny.add("a", size=(300, 200))

    row = cams_of(tiny, pool, dataset={"max_side": 96})["a"]

    assert (row["height"], row["width"]) == (200, 300)
    assert (row["work_height"], row["work_width"]) == (64, 96)
    assert (row["grid_h"], row["grid_w"]) == (4, 6)
    assert row["notes"] == ["reduced from 300x200 to 96x64"]


def test_settings_change_the_cams(tiny, pool):
    tiny.add("a", "cat;dog")
    plain = cams_of(tiny, pool)["a"]

    unrefined = cams_of(tiny, pool, cam={"refine": "none"})["a"]
    logits = cams_of(tiny, pool, cam={"softmax": False})["a"]
    pooled = cams_of(tiny, pool, clip={"pooling": "cls"})["a"]

    assert unrefined["refined_cam"] == unrefined["cam"] == plain["cam"]
    assert plain["refined_cam"] != plain["cam"]
    assert sum(plain["scores"]) < 1 < max(map(abs, logits["scores"]))
    assert plain["scores"] != pooled["scores"]


def test_cams_of_a_resnet_have_a_value_per_32_pixels_and_are_not_refined(tiny, pool, resnet_settings):
    tiny.add("a", "cat;dog")
    tiny.add("b", "cat;dog;bird", size=(100, 70))
    rows = cams_of(tiny, pool, clip=resnet_settings, cam={"refine": "none"})
    assert [(row["grid_h"], row["grid_w"]) for row in (rows["a"], rows["b"])] == [(2, 2), (3, 4)]
    assert rows["b"]["refined_cam"] == rows["b"]["cam"]
    assert stored_cams(rows["b"], "cam").max() == pytest.approx(1, abs=1e-3)


NO_COMPETITOR = "only one text takes part in the softmax, so the CAM is empty"


@pytest.mark.parametrize("fusion", ["sentence", "cam"])
def test_a_photo_whose_only_class_has_no_competitor_has_a_note(tiny, pool, fusion):
    tiny.add("one", "bird", size=(80, 48))
    tiny.add("two", "bird;dog")
    tiny.add("none", "")

    rows = cams_of(tiny, pool, prompts={"background": False, "fusion": fusion}, dataset={"max_side": 64})

    assert {name: row["notes"] for name, row in rows.items()} == {
        "one": ["reduced from 80x48 to 64x38", NO_COMPETITOR],
        "two": [],
        "none": [],
    }
    assert rows["one"]["scores"] == [1]
    assert not stored_cams(rows["one"], "cam").any()


@pytest.mark.parametrize("sections", [{}, {"prompts": {"background": False}, "cam": {"softmax": False}}])
def test_a_photo_of_one_class_has_no_note_if_its_score_is_meaningful(tiny, pool, sections):
    tiny.add("one", "bird")
    row = cams_of(tiny, pool, **sections)["one"]
    assert row["notes"] == []
    assert row["scores"] != [1]


def test_too_many_attention_blocks_are_logged_once_per_worker(tiny, capfd):
    for name in "abcd":
        tiny.add(name, "cat;dog")
    cam = {"attention_blocks": 13}
    run = prepare_run(tiny.config(cam=cam, execution={"shards": 2}), "cams")
    plain = prepare_run(tiny.config(cam=cam | {"refine": "none"}), "cams")

    with worker_pool([WorkerSlot("cpu", 1)], Counters(tuple(STAGES))) as own:
        make_run(plain, own)
        assert "attention_blocks" not in capfd.readouterr().err
        records = make_run(run, own).of("cams")

    assert [record.computed > 0 for record in records] == [True, True]
    told = "cam.attention_blocks is 13, but the network has only 12 blocks; using all of them"
    assert capfd.readouterr().err.count(told) == 1


class SmallMemory(VitBackbone):
    """A backbone on a device with memory for only `room` photos."""

    room = 2

    def encode(self, photos_rgb, attention_blocks=0):
        if len(photos_rgb) > self.room:
            self.run_out()
        return super().encode(photos_rgb, attention_blocks)

    def run_out(self):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


class SmallMachine(SmallMemory):
    """The same backbone on a CPU, whose allocator refuses to allocate an exbibyte."""

    def run_out(self):
        torch.empty(1 << 60, dtype=torch.uint8)


@pytest.fixture(scope="module")
def clip(seeded_weights):
    return load_clip(ClipConfig(pretrained=str(seeded_weights))).model


@pytest.fixture(scope="module")
def visual(clip):
    return clip.visual


@pytest.fixture(scope="module")
def backbone(visual):
    return SmallMemory(visual)


@pytest.fixture(scope="module")
def texts(scenes_made, clip):
    columns = scenes_made.run.store.read(scenes_made.of("texts")[0].uri, ["class_id", "feature"]).to_pydict()
    return TextFeatures(
        np.array(columns["class_id"]), np.array(columns["feature"], np.float32), float(clip.logit_scale.exp())
    )


@pytest.fixture
def seven(large_scene):
    """Return seven crops of the same size with different labels."""
    crops = [large_scene.crop((40 * i, 20, 40 * i + 64, 68)) for i in range(7)]
    viewer = Viewer(list_views(CamConfig()), 16)
    labels = [(3,), (3, 8), (12,), (8, 3, 12), (1,), (20, 3), (15,)]
    return [
        (Photo(str(i), "", 1, "1", class_ids), LoadedPhoto(viewer.show(crop), (48, 64), ()))
        for i, (crop, class_ids) in enumerate(zip(crops, labels, strict=True))
    ]


def made(backbone, texts, batch, room):
    backbone.room = room
    results = finish(compute_batch(batch, partial(batch_cams, backbone, [texts], CamConfig())))
    return {photo.image_id: found if isinstance(found, PhotoError) else found[0] for photo, _, found in results}


@pytest.mark.parametrize("room", [1, 2, 3, 6, 7])
def test_a_batch_that_does_not_fit_is_halved(backbone, texts, seven, room):
    found = made(backbone, texts, seven, room)

    assert list(found) == list("0123456")
    for photo, loaded in seven:
        cams = found[photo.image_id]
        alone = made(backbone, texts, [(photo, loaded)], 1)[photo.image_id]
        assert len(cams.scores) == len(photo.class_ids)
        np.testing.assert_allclose(cams.scores, alone.scores, atol=1e-5)
        np.testing.assert_allclose(cams.refined_cam, alone.refined_cam, atol=2e-3)


def test_a_photo_too_large_for_memory_fails_with_a_transient_error(backbone, texts, seven):
    found = made(backbone, texts, seven[:3], 0)

    assert list(found) == list("012")
    assert {error.kind for error in found.values()} == {ErrorKind.OUT_OF_MEMORY}
    assert found["0"].reason == "CUDA out of memory. Tried to allocate 2.00 GiB"
    assert ErrorKind.OUT_OF_MEMORY.transient


def test_a_cpu_that_runs_out_of_memory_is_handled_like_a_gpu(visual, backbone, texts, seven):
    machine = SmallMachine(visual)

    halved, alone = made(machine, texts, seven[:3], 1), made(machine, texts, seven[:2], 0)

    expected = made(backbone, texts, seven[:3], 1)
    assert halved.keys() == expected.keys()
    for image_id, cams in halved.items():
        np.testing.assert_array_equal(cams.refined_cam, expected[image_id].refined_cam)
    assert [error.kind for error in alone.values()] == [ErrorKind.OUT_OF_MEMORY] * 2
    assert "can't allocate memory: you tried to allocate 1152921504606846976 bytes" in alone["0"].reason


def test_another_runtime_error_is_raised(backbone, texts, seven):
    narrow = TextFeatures(texts.class_ids, texts.features[:, :-1], 20.0)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        made(backbone, narrow, seven, 7)


def test_an_error_of_another_type_is_raised(backbone, texts, seven):
    unknown = (Photo("x", "", 1, "1", (99,)), seven[0][1])
    with pytest.raises(ShapeError, match="that have texts"):
        made(backbone, texts, [unknown], 7)
