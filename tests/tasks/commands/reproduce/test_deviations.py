from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from clipes.tasks.commands.reproduce.deviations import (
    check_overlap,
    check_settings,
    check_split_size,
    check_true_masks,
    check_weights,
)
from clipes.tasks.inputs.configs import load_config
from clipes.tasks.inputs.datasets.listing import Listing
from clipes.tasks.inputs.photos import Annotations, AnnotationSource, Photo, Reject
from clipes.tasks.machine.shipped_files import CONFIGS
from clipes.tasks.storage.listing import find_file
from clipes_core.config.pseudo_masks import ClipConfig
from clipes_core.errors import ErrorKind


def listing(count, labelled=None, rejected=0, left_out=0):
    photos = tuple(
        Photo(f"photo_{number}", f"/photos/{number}.jpg", 1, "", (1,) if labelled is None or number < labelled else ())
        for number in range(count)
    )
    rejects = tuple(
        Reject(f"bad_{number}", "/bad.jpg", "manifest", ErrorKind.MISSING, "no file") for number in range(rejected)
    )
    return Listing(photos, rejects, left_out=left_out)


@pytest.mark.parametrize(
    ("data", "split", "photos"),
    [
        ("voc12", "train", listing(1464)),
        ("voc12", "/lists/train.txt", listing(1460, rejected=4)),
        ("coco14", "train2014", listing(82_081, left_out=702)),
    ],
)
def test_a_split_of_the_papers_size_is_accepted(data, split, photos):
    assert check_split_size(data, split, photos).works


@pytest.mark.parametrize(
    ("split", "count", "words"),
    [
        ("train", 228, "train has 228 photos, but the paper's train has 1464"),
        ("train", 5717, "The list seems to be ImageSets/Main/train.txt, the list for detection"),
        ("train", 10_582, "The list seems to be that of train_aug"),
        ("train_aug", 11_355, "which include photos of val"),
        ("few", 3, "is not one of the paper's splits, which are train_aug (10582), train (1464), val (1449)"),
    ],
)
def test_another_split_is_a_warning_that_names_the_list(split, count, words):
    finding = check_split_size("voc12", split, listing(count))
    assert finding.works is None
    assert words in finding.detail


def test_photos_without_labels_are_no_part_of_the_papers_splits_of_coco():
    finding = check_split_size("coco14", "val2014", listing(40_504, labelled=40_137))
    assert finding.works is None
    assert "val2014 has 40504 photos, 367 of them without labels, but the paper's val2014 has 40137 with labels" in (
        finding.detail
    )
    rejects = tuple(Reject(f"{number}", "", "manifest", ErrorKind.NO_OBJECTS, "no labels") for number in range(367))
    assert check_split_size("coco14", "val2014", replace(listing(40_137), rejects=rejects)).works
    assert "train2017" in check_split_size("coco14", "val2014", listing(117_266, left_out=1021)).detail


def with_truth(folder, name, ids):
    path = folder / f"{name}.png"
    Image.fromarray(np.array(ids, np.uint8)).save(path)
    return Photo(name, f"/photos/{name}.jpg", 1, "", (1,), str(path), find_file(str(path)).fingerprint)


def test_true_masks_without_borders_are_suspicious_only_if_the_data_set_has_borders(tmp_path):
    plain = Listing((with_truth(tmp_path, "plain", [[0, 1]]),), ())
    (finding,) = check_true_masks(plain, has_borders=True)
    assert finding.works is None
    assert "none of 1 opened true masks has the value 255" in finding.detail
    assert not list(check_true_masks(plain, has_borders=False))
    bordered = Listing((*plain.photos, with_truth(tmp_path, "bordered", [[0, 255]])), ())
    assert not list(check_true_masks(bordered, has_borders=True))


def test_photos_without_true_masks_are_counted(tmp_path):
    some = Listing((*listing(2).photos, with_truth(tmp_path, "one", [[0, 255]])), ())
    (finding,) = check_true_masks(some, has_borders=True)
    assert "2 of 3 photos have no true mask (the first is photo_0)" in finding.detail
    (finding,) = check_true_masks(listing(2), has_borders=True)
    assert "nothing can be compared" in finding.detail


def test_true_masks_that_clipes_draws_from_annotations_are_a_difference_but_not_missing():
    annotated = Annotations(AnnotationSource("/instances.json", "", ()), b"", "")
    photos = tuple(replace(photo, annotations=annotated) for photo in listing(2).photos)
    (finding,) = check_true_masks(Listing(photos, ()), has_borders=False, section="evaluation")
    assert finding.works is None
    assert "the true masks are drawn from COCO's annotations" in finding.detail
    assert "set evaluation.truth to their folder" in finding.detail


def test_photos_in_both_splits_are_named():
    (finding,) = check_overlap(listing(5), listing(2))
    assert "2 photos are both in the split" in finding.detail
    assert "photo_0, photo_1" in finding.detail
    assert not list(check_overlap(listing(5), listing(0)))


def test_other_weights_than_those_of_openai_are_a_warning(tmp_path):
    assert check_weights(ClipConfig()).works
    own = tmp_path / "own.pt"
    own.write_bytes(b"weights")
    finding = check_weights(ClipConfig(pretrained=str(own)))
    assert finding.works is None
    assert "the weights of CLIP are own.pt" in finding.detail
    assert check_weights(ClipConfig(pretrained="random:0")).works is None


def test_only_settings_that_may_change_a_score_are_named(tmp_path):
    def config(*overrides):
        return load_config(str(CONFIGS / "voc12.yaml"), (f"dataset.root={tmp_path}", *overrides))

    same = config(
        *("execution.shards=3", "report.gallery=0", "name=mine", f"store={tmp_path}", "clip.pretrained=random:0"),
        *(f"{section}.{key}={tmp_path}" for section in ("dataset", "evaluation") for key in ("root", "truth")),
    )
    assert not list(check_settings(same, config()))
    other = config("cam.power=1", "cam.scales=[0.5,1]", "dataset.sample=9")
    details = [finding.detail for finding in check_settings(other, config())]
    assert details == [
        "cam.power is 1; the paper's value is 2",
        "cam.scales.0 is 0.5; the paper's value is 1.0",
        "cam.scales.1 is 1.0; the paper's value is None",
        "dataset.sample limits the photos to 9",
    ]
    few = ("train.iterations=9",)
    assert [each.detail for each in check_settings(config(*few), config())] == [
        "train.iterations is 9; the paper's value is None"
    ]
    without = ("train.enabled=false",)
    assert not list(check_settings(config(*few, *without), config(*without)))
