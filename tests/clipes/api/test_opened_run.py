"""The results of a run, read from its store."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image
from support.prepared import prepare_run
from support.report_runs import write_run_files
from support.small_runs import TinyPhotos, make_run

import clipes
from clipes.tasks.runs.inputs.vocabulary import checked_vocabulary
from clipes_core.errors import StageError, UsageError

MISSING = "nobody"


@pytest.fixture(scope="module")
def made(tmp_path_factory, large_scene, seeded_weights, pool):
    """Make a run of four photos: two with true masks, one without labels, and one that is broken."""
    tiny = TinyPhotos(tmp_path_factory.mktemp("opened"), large_scene, seeded_weights)
    for name, value in {"a": 8, "b": 12}.items():
        Image.fromarray(np.full((48, 64), value, np.uint8)).save(tiny.folder / f"{name}-truth.png")
    tiny.add("a", "cat;dog", truth="a-truth.png")
    tiny.add("b", "dog", truth="b-truth.png")
    tiny.add("c", "")
    tiny.add("d", "bird").write_bytes(b"no photo")
    made = make_run(prepare_run(tiny.config(name="tiny", execution={"shards": 2}), "mask_scores"), pool)
    write_run_files(made)
    return made


@pytest.fixture
def opened(made):
    return clipes.open_run("tiny", made.run.store.uri)


def levels(png):
    return np.array(Image.open(io.BytesIO(png)))


def test_a_run_is_a_sequence_of_its_photos(opened):
    assert len(opened) == len(opened.ids) == 4
    assert sorted(opened.ids) == ["a", "b", "c", "d"]
    assert [photo.id for photo in opened] == opened.ids == [photo.id for photo in opened[:]]
    assert opened[0].id == opened.ids[0]
    assert opened[-1].id == opened.ids[-1]
    assert opened["b"].id == "b"
    with pytest.raises(KeyError):
        opened[MISSING]
    with pytest.raises(IndexError):
        opened[4]


def test_a_run_contains_its_photos_and_their_ids(opened, made):
    again = clipes.open_run("tiny", made.run.store.uri)
    assert "b" in opened
    assert MISSING not in opened
    assert 1 not in opened
    assert opened[1] in again
    assert again.index(opened[1]) == 1
    assert opened[0] == again[0] != opened[1]
    assert set(opened) == set(again)
    assert opened[0] != opened[0].id


def test_a_photo_of_another_run_is_not_in_a_run_even_if_it_has_the_same_id(opened, made, tmp_path):
    shutil.copytree(made.run.store.uri, tmp_path / "copied")
    copied = clipes.open_run("tiny", tmp_path / "copied")
    assert copied["a"].id in opened
    assert copied["a"] not in opened
    assert copied["a"] != opened["a"]


def test_a_photo_has_the_results_of_the_stages(opened, made):
    row, photo = made.rows("masks")["a"], opened["a"]
    assert photo.labels == ("cat", "dog")
    assert photo.class_ids == {"cat": 8, "dog": 12}
    assert photo.status == "ok"
    assert (photo.mask == levels(row["mask_png"])).all()
    assert (photo.confidence == levels(row["confidence_png"]).astype(np.float32) / 255).all()
    assert list(photo.cams) == ["cat", "dog"]
    assert all(cam.shape == photo.mask.shape and 0 <= cam.min() <= cam.max() <= 1 for cam in photo.cams.values())
    assert photo.image.size == (64, 48)
    assert (photo.truth == 8).all()
    assert 0 <= photo.miou <= 1
    assert photo.uri.endswith("/a.png")


def test_a_masker_of_the_run_makes_the_same_mask(opened):
    masker = clipes.Masker(config=opened.config)
    for name in ("a", "b", "c"):
        found = masker(opened[name].uri, opened[name].labels)
        assert (found.mask == opened[name].mask).all()
        assert all((cam == opened[name].cams[label]).all() for label, cam in found.cams.items())


def test_a_photo_without_labels_is_background_and_has_no_truth(opened):
    photo = opened["c"]
    assert (photo.labels, photo.cams, photo.truth, photo.miou) == ((), {}, None, None)
    assert not photo.mask.any()


def test_a_photo_whose_mask_failed_says_why(opened):
    photo = opened["d"]
    assert (photo.status, photo.miou) == ("error", None)
    with pytest.raises(StageError, match=r"^run tiny has no mask of d: .*d\.png"):
        photo.mask  # noqa: B018


def test_a_photo_whose_mask_is_not_made_yet_says_what_to_run(made):
    opened = clipes.open_run("tiny", made.run.store.uri)
    opened._status.shards[:] = [row for row in opened._status.shards if row["stage"] != "masks"]
    assert opened["a"].status == "pending"
    assert set(opened.to_pandas()["status"]) == {"pending"}
    with pytest.raises(StageError, match=r"^run tiny has no mask of a yet: run it up to the stage masks$"):
        opened["a"].mask  # noqa: B018


def test_the_table_has_one_row_per_photo(opened, made):
    table = opened.to_pandas()
    assert list(table["id"]) == opened.ids
    rows = table.set_index("id")
    assert rows["status"].to_dict() == {"a": "ok", "b": "ok", "c": "ok", "d": "error"}
    assert rows.loc["a", "labels"] == ("cat", "dog")
    assert "d.png" in rows.loc["d", "error"]
    assert rows["error"].isna().to_dict() == {"a": True, "b": True, "c": True, "d": False}
    for name in ("a", "b", "c"):
        photo = opened[name]
        assert rows.loc[name, "confidence"] == pytest.approx(photo.confidence.mean(), abs=1e-4)
        assert rows.loc[name, "foreground"] == pytest.approx((photo.mask != 0).mean())
        assert rows.loc[name, "reasons"] == photo.reasons
    assert rows.loc["a", "miou"] == opened["a"].miou
    assert rows["miou"].isna().to_dict() == {"a": False, "b": False, "c": True, "d": True}
    assert rows.loc["d", ["confidence", "foreground"]].isna().all()


def test_photos_to_check_come_first_and_say_why(opened):
    table = opened.to_pandas().set_index("id")
    listed = [photo.id for photo in opened.to_check]
    assert listed == list(opened.checks)
    assert set(listed) == {name for name in opened.ids if table.loc[name, "severity"] > 0}
    assert all(photo.reasons for photo in opened.to_check)


def test_a_run_states_its_status_and_its_scores(opened):
    assert (opened.name, opened.status) == ("tiny", "completed")
    assert set(opened.scores) == {"centre_box", "initial_cam", "refined_cam", "pseudo_mask"}
    assert 0 <= opened.scores["pseudo_mask"]["miou"] <= 1
    assert opened.config.name == "tiny"
    assert opened.classes[7] == "cat"
    assert opened.vocabulary == checked_vocabulary(opened.config)
    assert opened.report.endswith("/runs/tiny/report.html")
    assert repr(opened) == "Run('tiny', 4 photos, status='completed')"


def test_a_photo_is_displayed_with_its_mask(opened):
    photo = opened["a"]
    assert Image.open(io.BytesIO(photo._repr_png_())).size == photo.image.size
    assert repr(photo) == "RunPhoto('a', labels=['cat', 'dog'], status='ok')"


def test_an_unknown_run_and_a_mistyped_store_are_usage_errors(opened):
    with pytest.raises(UsageError, match=r"no run other in .*; existing runs: tiny"):
        clipes.open_run("other", opened.store)
    with pytest.raises(UsageError, match="store: 's3:/bucket' is not a URI; write s3://bucket"):
        clipes.open_run("tiny", "s3:/bucket")
