"""All checks on a small data set of real files, in which each test breaks something."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from s3fs import S3FileSystem
from support.mounts import fill, mounted
from support.permissions import unprivileged
from support.s3_server import READER

from clipes.tasks.commands.check.checks import check_config
from clipes.tasks.inputs.configs import load_config

CONFIG = """
name: farm
store: ./store
dataset: {format: list, root: photos, split: photos.csv, classes: farm.yaml, truth: masks}
clip: {model: clipes-demo, pretrained: clipes-demo}
train: {enabled: false, mmseg_config: demo}
execution: {max_failure_rate: 0.2, tolerated_failures: 0}
"""
VOCABULARY = "background_words: [ground, sky]\nclasses: [{name: tractor}, {name: dog}]\n"
SIZE_HW = 40, 60
PHOTOS = {"one": "tractor", "two": "dog", "three": "tractor;dog", "four": "dog"}


@pytest.fixture
def farm(tmp_path, monkeypatch):
    """Write four photos, their true masks, a list, a vocabulary and a config to the working directory; return it."""
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    for seed, (name, labels) in enumerate(PHOTOS.items()):
        pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE_HW, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.jpg")
        ids = np.zeros(SIZE_HW, np.uint8)
        for place, label in enumerate(labels.split(";")):
            ids[10 * place : 10 * place + 5] = 1 + ("tractor", "dog").index(label)
        Image.fromarray(ids).save(tmp_path / "masks" / f"{name}.png")
    write_list(PHOTOS)
    Path("farm.yaml").write_text(VOCABULARY)
    Path("run.yaml").write_text(CONFIG)
    return tmp_path


def write_list(labels):
    Path("photos.csv").write_text("image,labels\n" + "".join(f"{name}.jpg,{of}\n" for name, of in labels.items()))


def found(*overrides):
    """Return the findings as pairs of the checked item and the verdict, and all details as one text."""
    findings = list(check_config(load_config("run.yaml", overrides)))
    return [(each.what, each.works) for each in findings], "\n".join(each.detail for each in findings)


def faults(*overrides):
    """Return the findings that are not ok."""
    return [each for each in check_config(load_config("run.yaml", overrides)) if not each.works]


def test_everything_about_an_intact_data_set_is_ok(farm):
    verdicts, details = found()
    assert [what for what, _ in verdicts] == [
        *(
            "files",
            "devices",
            "store",
            "vocabulary",
            "photos",
            "labels",
            "sample",
            "true masks",
            "prompt lengths",
            "weights",
        ),
        "disk",
    ]
    assert all(works for _, works in verdicts), details
    assert "4 of 4 photos can be used" in details
    assert "photos per class: dog 3, tractor 2" in details
    assert f"dataset.split: {farm}/photos.csv" in details
    assert "4 photos were opened; they are 60 to 60 pixels wide and 40 to 40 high" in details
    assert "clipes-demo.safetensors (7.6 MB)" in details
    assert not (farm / "store").exists()


def test_a_misspelt_class_is_counted_with_a_suggestion_and_is_a_problem_if_a_run_would_fail(farm):
    write_list({**PHOTOS, "one": "tracktor", "two": "cat"})
    [fault] = faults()
    assert (fault.what, fault.works) == ("rejected", False)
    assert fault.detail.startswith("2 of 4 photos, more than 0, the limit of execution.max_failure_rate=0.2 ")
    assert fault.detail.endswith(
        "\n2 unknown_class: unknown class 'tracktor'; did you mean 'tractor'? (one); unknown class 'cat' (two)"
    )


def test_a_few_rejected_lines_are_a_warning(farm):
    write_list({**PHOTOS, "none": "dog"})
    [fault] = faults("execution.tolerated_failures=1")
    assert (fault.what, fault.works) == ("rejected", None)
    assert fault.detail.startswith("1 of 5 photos\n1 missing: no file at ")


def test_classes_without_photos_and_photos_without_labels_are_warnings(farm):
    write_list({**PHOTOS, "one": "", "three": "dog"})
    classes, unlabelled = faults()
    assert (classes.what, classes.works) == ("classes", None)
    assert classes.detail.startswith("no photo has the label tractor: ")
    assert unlabelled.detail.startswith("photos without a label: 1 (the first is one). ")


def test_a_data_set_without_a_label_is_a_problem(farm):
    write_list(dict.fromkeys(PHOTOS, ""))
    [fault] = faults()
    assert (fault.what, fault.works) == ("photos", False)
    assert fault.detail.startswith("none of the 4 photos has a label")


def test_photos_that_cannot_be_decoded_are_named(farm):
    (farm / "photos" / "two.jpg").write_bytes(b"no photo")
    [fault] = faults()
    assert (fault.what, fault.works) == ("sample", None)
    assert fault.detail.startswith("1 of 4 photos cannot be used\ntwo: ")


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (np.full(SIZE_HW, 7, np.uint8), "the id 7 is not in the vocabulary, whose ids are 0 to 2"),
        (np.ones((3, 3), np.uint8), "the true mask is 3x3 and the photo is 60x40"),
    ],
)
def test_true_masks_that_do_not_fit_are_warnings(farm, ids, expected):
    Image.fromarray(ids).save(farm / "masks" / "two.png")
    [fault] = faults()
    assert (fault.what, fault.works) == ("true masks", None)
    assert "dataset: 4 of 4 photos have a true mask; 4 were opened, 1 cannot be used" in fault.detail
    assert expected in fault.detail


def write_coco(farm, outline):
    """Write the data set as an annotation file, in which all objects have an outline but those of one photo another."""
    names = list(PHOTOS)
    images = [{"id": name, "file_name": f"{name}.jpg", "width": SIZE_HW[1], "height": SIZE_HW[0]} for name in names]
    square = [[5, 5, 30, 5, 30, 30, 5, 30]]
    annotations = [
        {"id": name, "image_id": name, "category_id": label, "segmentation": outline if name == "two" else square}
        for name in names
        for label in PHOTOS[name].split(";")
    ]
    categories = [{"id": name, "name": name} for name in ("tractor", "dog")]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (farm / "own.json").write_text(json.dumps(document))


OF_COCO = ("dataset.format=coco", "dataset.split=own.json", "dataset.truth=null")


def test_true_masks_are_drawn_from_outlines(farm):
    write_coco(farm, [[1, 1, 9, 1, 9, 9]])
    assert faults(*OF_COCO) == []
    assert "dataset: 4 of 4 photos have a true mask; 4 were opened, and fit" in found(*OF_COCO)[1]


def test_true_masks_that_cannot_be_drawn_are_warnings(farm):
    write_coco(farm, [[1, 1, 9]])
    [fault] = faults(*OF_COCO)
    assert (fault.what, fault.works) == ("true masks", None)
    assert "two: annotation 'two': a polygon is 3 numbers: it needs x and y of at least 3 points" in fault.detail


def test_true_masks_whose_ids_are_off_by_one_are_reported(farm):
    for path in (farm / "masks").iterdir():
        ids = np.array(Image.open(path))
        Image.fromarray(np.where(ids == 1, 2, np.where(ids == 2, 1, 0)).astype(np.uint8)).save(path)
    write_list({**PHOTOS, "three": "dog"})
    [fault] = faults()
    assert "true masks contain none of the labels of their photo" in fault.detail


def test_prompts_that_are_too_long_for_clip_are_named_with_their_tokens(farm):
    long = " ".join(["very"] * 40)
    Path("farm.yaml").write_text(VOCABULARY.replace("{name: dog}", f"{{name: dog, words: {long} dog}}"))
    [fault] = faults()
    assert (fault.what, fault.works) == ("prompt lengths", False)
    assert fault.detail.startswith("1 of 4 prompts have more than the 32 tokens that CLIP reads: ")
    assert f"\ndog: 49 tokens in 'a bright photo of a {long} dog.'" in fault.detail


def test_missing_weights_are_a_problem(farm):
    [fault] = faults("clip.pretrained=none.pt")
    assert (fault.what, fault.works) == ("weights", False)
    assert f"expected the file {farm}/none.pt or a tag of clipes-demo, found neither" in fault.detail


def test_random_weights_are_a_warning(farm):
    [fault] = faults("clip.pretrained=random:0")
    assert (fault.what, fault.works) == ("weights", None)


def test_damaged_weights_are_a_problem(farm, configs):
    whole = (configs / "models" / "clipes-demo.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(whole[:1000])
    [fault] = faults("clip.pretrained=cut.safetensors")
    assert (fault.what, fault.works) == ("weights", False)


def test_paths_that_do_not_exist_are_listed_once(farm):
    shutil.rmtree("masks")
    Path("photos.csv").unlink()
    files, *others = faults()
    assert files.detail == (
        "these files or folders do not exist: correct the paths\n"
        f"dataset.truth: {farm}/masks\ndataset.split: {farm}/photos.csv"
    )
    assert [each.what for each in others] == ["settings"]


def test_a_vocabulary_that_cannot_be_read_ends_the_checks(farm):
    Path("farm.yaml").write_text("classes: [{nam: dog}]\n")
    [fault] = faults()
    assert (fault.what, fault.works) == ("vocabulary", False)


def test_warnings_that_would_be_logged_are_findings(farm, capsys):
    Path("farm.yaml").write_text(VOCABULARY.replace("sky", "dog"))
    [fault] = faults()
    assert (fault.what, fault.works) == ("vocabulary", None)
    assert "the background_words contain words of classes: dog" in fault.detail
    assert "background_words" not in capsys.readouterr().err


def test_unknown_words_to_leave_out_are_a_warning(farm):
    [fault] = faults("prompts.leave_out=[sky, grond]")
    assert (fault.what, fault.works) == ("vocabulary", None)
    assert "grond (did you mean ground?)" in fault.detail


def test_the_training_and_the_evaluation_photos_are_checked(farm):
    verdicts, details = found("train.enabled=true", "evaluation.split=photos.csv")
    assert all(works for _, works in verdicts), details
    assert "evaluation: 4 of 4 photos have a true mask; 4 were opened, and fit" in details
    assert "demo can be trained; it has 0.7 million parameters" in details


def test_evaluation_photos_without_true_masks_are_a_warning(farm):
    shutil.rmtree("masks")
    write_list(PHOTOS)
    [fault] = faults("train.enabled=true", "evaluation.split=photos.csv", "dataset.truth=null")
    assert (fault.what, fault.works) == ("true masks", None)
    assert fault.detail.startswith("evaluation: no photo has a true mask, so nothing is scored")


def test_a_training_without_its_initial_weights_is_a_problem(farm, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(farm / "cache"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    [fault] = faults("train.enabled=true", "train.init=torchvision://resnet18")
    assert (fault.what, fault.works) == ("training", False)
    assert (
        f"train.init torchvision://resnet18: the file is not at {farm}/cache/hub/checkpoints/resnet18" in fault.detail
    )
    assert "and could not be downloaded from https://" in fault.detail
    assert "--set train.init=FILE" in fault.detail


def test_a_store_that_is_not_writable_is_a_problem(farm):
    (farm / "locked").mkdir(mode=0o555)
    with unprivileged(farm):
        [fault] = faults("store=locked/store")
    assert (fault.what, fault.works) == ("store", False)
    assert f"{farm}/locked" in fault.detail


def test_a_disk_that_is_too_small_or_full_is_a_problem(farm):
    with mounted(farm / "small", "-t", "tmpfs", "-o", "size=8k", "tmpfs"):
        [fault] = faults("store=small/store")
        assert (fault.what, fault.works) == ("disk", False)
        assert "are free" in fault.detail
        fill(farm / "small")
        assert [each.what for each in faults("store=small/store")] == ["store", "disk"]


def test_a_store_on_s3_is_written_to_and_has_no_known_size(farm, s3, s3_folder, monkeypatch):
    verdicts, details = found(f"store={s3_folder}")
    assert all(works for _, works in verdicts)
    assert f"the free space of {s3_folder} is not known" in details
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER.secret_key)
    S3FileSystem.clear_instance_cache()
    [fault] = faults(f"store={s3_folder}")
    assert (fault.what, fault.works) == ("store", False)


def test_a_device_that_this_host_lacks_is_a_problem(farm):
    [fault] = faults("clip.device=cuda:99")
    assert (fault.what, fault.works) == ("devices", False)


def test_a_cluster_is_not_examined(farm):
    verdicts, details = found("execution.runner={kind: ray}")
    assert all(works for _, works in verdicts)
    assert "clipes doctor --set execution.runner.kind=ray" in details.replace("\n", " ")
