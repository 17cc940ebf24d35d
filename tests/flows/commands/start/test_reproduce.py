"""`clipes reproduce` on a few real photos with a small network."""

import json
import re
from importlib.util import find_spec

import pytest
from support.commands import settings

from clipes.flows.commands.start.reproduce import OF_INPUTS
from clipes.tasks.storage.run_files import RunFiles

NAME = "reproduce-voc12-pseudo-masks"


@pytest.fixture
def reproduce(clipes, real_data, golden):
    """Return the command for three photos of VOC."""
    ids = (real_data / "ImageSets" / "Segmentation" / "train.txt").read_text().split()[:3]
    (clipes.folder / "train.txt").write_text("\n".join(ids) + "\n")
    weights = str(golden / "small_vit.pt")
    given = ("--root", str(real_data), "--clip", weights, "--set", f"dataset.split={clipes.folder / 'train.txt'}")
    return lambda *options: clipes("reproduce", "voc12", *given, *options)


@pytest.fixture
def with_segmenter(reproduce, clipes):
    """Return the command with a small segmenter, which is scored on the photos that it is trained on."""
    recipe = ("train.mmseg_config=small_cpu", "train.iterations=2", "train.validate_every=0", "report.gallery=0")
    given = settings(*recipe, f"evaluation.split={clipes.folder / 'train.txt'}")
    return lambda *options: reproduce("--segmenter", *given, *options)


@pytest.mark.slow
def test_the_papers_table_is_printed_and_written_and_a_repetition_computes_nothing(with_segmenter, clipes):
    done = with_segmenter()
    assert done.returncode == 0, done.stdout + done.stderr
    printed = " ".join(done.stdout.split())
    assert "train has 3 photos, but the paper's train has 1464" in printed
    assert "the weights of CLIP are small_vit.pt, which is not OpenAI's archive of ViT-B/16" in printed
    assert "5 runs (MHSA, CAA, softmax of the classes, logits of the classes, names): at most" in printed
    assert re.search(r"^initial CAM \+ CAA \+ CRF +train +75\.0 +\d+\.\d +−\d+\.\d +\d", done.stdout, re.MULTILINE)
    assert re.search(r"^DeepLabV2, ImageNet weights +val +71\.1 +\d+\.\d +−\d+\.\d", done.stdout, re.MULTILINE)
    assert "3 photos are both in the split of the masks and in the split that scores the segmenter" in printed
    assert "train.mmseg_config is small_cpu; the paper's value is deeplabv2_r101_voc12" in printed
    assert "not part of this reproduction" not in printed
    assert printed.count("the weights of CLIP are small_vit.pt") == 2  # in the check, and above the table
    assert done.stderr.count("small_vit.pt: clip.model ViT-B-16-quickgelu is ignored") == 1

    files = RunFiles(str(clipes.folder / "clipes-store"), NAME)
    content = json.loads((clipes.folder / "clipes-store" / "runs" / NAME / "reproduction.json").read_text())
    rows = {row["id"]: row for row in content["numbers"]}
    measured = {variant: RunFiles(files.store_uri, f"{NAME}-{variant}").read_metrics() for variant in ("mhsa", "caa")}
    assert rows["voc_train_mhsa_crf"]["measured"] == pytest.approx(100 * measured["mhsa"]["pseudo_mask"]["miou"])
    assert rows["voc_train_caa"]["measured"] == pytest.approx(100 * measured["caa"]["refined_cam"]["miou"])
    assert content["common_reasons"][0].startswith("the weights of CLIP are small_vit.pt")
    assert "1464" in content["common_reasons"][1]
    assert (
        "| initial CAM | train | 58.6 |"
        in (clipes.folder / "clipes-store" / "runs" / NAME / "reproduction.md").read_text()
    )

    again = with_segmenter("--plan")
    assert again.returncode == 0, again.stderr
    sums = re.findall(r"^computed in all +(.+)", again.stdout, re.MULTILINE)
    assert len(sums) == 2
    assert {count for line in sums for count in line.split()} == {"0"}
    assert "5 runs (MHSA, CAA, softmax of the classes, logits of the classes, names): at most" in " ".join(
        again.stdout.split()
    )
    assert "2 runs (CGL, cross entropy): at most" in " ".join(again.stdout.split())


def test_a_plan_checks_the_data_and_shows_every_part_but_computes_nothing(reproduce, with_segmenter, clipes):
    done = reproduce("--plan")
    assert done.returncode == 0, done.stderr
    assert "train has 3 photos, but the paper's train has 1464" in " ".join(done.stdout.split())
    assert re.search(r"^caa ", done.stdout, re.MULTILINE)
    assert "this machine has no GPU, and training DeepLabV2 on ResNet-101 takes days" in " ".join(done.stdout.split())
    done = with_segmenter("--plan")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^reproduce-voc12-segmenters-cross-entropy ", done.stdout, re.MULTILINE), done.stdout
    assert " ".join(done.stdout.split()).count("time: not known yet, because this store has no measurement") == 2
    assert not (clipes.folder / "clipes-store" / "artifacts").exists()


@pytest.mark.parametrize("name", OF_INPUTS)
def test_the_messages_that_are_written_once_come_from_modules_that_exist(name):
    assert find_spec(f"clipes.{name}") is not None


def test_a_small_segmenter_is_not_said_to_take_days(reproduce):
    done = reproduce("--plan", "--set", "train.mmseg_config=small_cpu")
    assert "the segmenter: this machine has no GPU; --segmenter trains it nevertheless" in " ".join(done.stdout.split())


def test_a_segmenter_that_was_asked_for_needs_its_photos(reproduce):
    done = reproduce("--segmenter", "--set", "evaluation.split=nowhere")
    assert done.returncode == 2
    assert "no split file at" in " ".join(done.stdout.split())


def test_data_that_cannot_be_used_at_all_ends_the_command(reproduce):
    done = reproduce("--set", "dataset.split=nowhere")
    assert done.returncode == 2
    assert "no split file at" in " ".join(done.stdout.split())
    assert done.stdout.splitlines()[-1].endswith("a run cannot start")


def test_an_unknown_data_set_is_refused_in_one_line(clipes):
    done = clipes("reproduce", "cityscapes", "--root", ".")
    assert (done.returncode, done.stderr) == (
        2,
        "clipes: no data set 'cityscapes': the paper's data sets are voc12 and coco14; name one\n",
    )
