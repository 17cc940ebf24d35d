"""`clipes prompts` and `prompts.template: auto` with a real Prefect server and generated photos."""

import html
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.commands import settings
from support.prefect_artifacts import newest_artifact

from clipes.tasks.inputs.templates import PAPER_TEMPLATES, shipped_templates

THREE = ("a {}.", "the [bold]{}.", "{} $x$")


@pytest.fixture
def ranking_arguments(scene_arguments):
    """Return the arguments of `clipes prompts` on nine scenes."""
    return ["prompts", *scene_arguments[1:]]


@pytest.fixture
def own_templates(clipes):
    """Return a function that writes a file of templates and returns the arguments that name it."""

    def write_templates(*lines):
        (clipes.folder / "own.txt").write_text("\n".join(lines))
        return "--templates", "own.txt"

    return write_templates


def ok(completed):
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def folder_of(clipes, name):
    return clipes.folder / "clipes-store" / "runs" / name


def json_of(clipes, name, file):
    return json.loads((folder_of(clipes, name) / file).read_text())


def computed(clipes, name):
    stages = json_of(clipes, name, "metrics.json")["stages"]
    return {stage: counts["computed_rows"] for stage, counts in stages.items() if stage != "manifest"}


def ranking_metadata(clipes):
    metadata = pq.read_schema(folder_of(clipes, "voc12-prompts") / "prompts.parquet").metadata
    prefix = "clipes."
    found = {key.decode().removeprefix(prefix): value.decode() for key, value in metadata.items() if b"clipes." in key}
    return {**found, "photos_encoded": int(found["photos_encoded"])}


def ranking_of(clipes, name="voc12-prompts"):
    return pq.read_table(folder_of(clipes, name) / "prompts.parquet").to_pylist()


def assert_picture(path, least_colours):
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        pixels = np.array(image.convert("RGB")).reshape(-1, 3)
        assert image.format == "PNG"
    assert len(np.unique(pixels, axis=0)) >= least_colours


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_shipped_templates_are_ranked_with_one_pass_over_the_photos(clipes, ranking_arguments):
    shown = ok(clipes(*ranking_arguments))

    assert computed(clipes, "voc12-prompts") == {"candidate_texts": 82 * 45, "embeddings": 9, "prompts": 9}
    ranking = ranking_of(clipes)
    assert [row["rank"] for row in ranking] == list(range(1, 83))
    assert [row["sharpness"] for row in ranking] == sorted(row["sharpness"] for row in ranking)
    assert {row["template"] for row in ranking} == set(shipped_templates())
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert f"1 {ranking[0]['template']} {ranking[0]['sharpness']:.5f}" in lines
    assert f"82 {ranking[81]['template']} {ranking[81]['sharpness']:.5f}" in lines
    assert "82 templates on 9 photos: 3 with one label, 6 with several" in shown
    assert "image embedding: patch_mean (clip.pooling)" in shown
    metadata = pq.read_schema(folder_of(clipes, "voc12-prompts") / "prompts.parquet").metadata
    assert metadata[b"clipes.photos_one_label"] == b"3"
    assert metadata[b"clipes.photos_several_labels"] == b"6"
    assert metadata[b"clipes.pooling"] == b"patch_mean"
    assert metadata[b"clipes.run"].startswith(b"voc12-prompts 20")
    found = json_of(clipes, "voc12-prompts", "metrics.json")["prompts"]
    assert (found["template"], found["templates"]) == (ranking[0]["template"], 82)
    assert (found["photos_one_label"], found["photos_several_labels"]) == (3, 6)
    assert_picture(folder_of(clipes, "voc12-prompts") / "prompts.png", 20)
    artifact = newest_artifact(clipes.environment, "voc12-prompts-templates")
    assert json.loads(artifact.data)[0]["template"] == ranking[0]["template"]
    assert artifact.description.startswith("82 templates on 9 photos: 3 with one label, 6 with several")


def test_new_templates_reuse_the_photo_embeddings_and_known_ones_everything(clipes, ranking_arguments, own_templates):
    ok(clipes(*ranking_arguments, *own_templates(PAPER_TEMPLATES[0], "a {}.")))
    assert computed(clipes, "voc12-prompts") == {"candidate_texts": 2 * 45, "embeddings": 9, "prompts": 9}
    before = {row["template"]: row["sharpness"] for row in ranking_of(clipes)}

    assert ranking_metadata(clipes)["photos_encoded"] == 9

    shown = ok(clipes(*ranking_arguments, *own_templates(*THREE, PAPER_TEMPLATES[0], THREE[0])))
    assert ranking_metadata(clipes)["photos_encoded"] == 0
    assert computed(clipes, "voc12-prompts") == {"candidate_texts": 2 * 45, "embeddings": 0, "prompts": 9}
    ranking = ranking_of(clipes)
    after = {row["template"]: row["sharpness"] for row in ranking}
    assert after.keys() == {*THREE, PAPER_TEMPLATES[0]}
    assert {template: after[template] for template in before} == before
    assert "the [bold]{}." in shown

    assert ok(clipes("report", "voc12-prompts")).startswith("report: ")
    report = (folder_of(clipes, "voc12-prompts") / "report.html").read_text()
    assert "This run ranks templates and makes no pseudo masks." in report
    assert "asked to end after" not in report

    again = ok(clipes(*ranking_arguments, "--templates", "own.txt", "--verify", "--retry-errors"))
    # 8 artifacts: texts of 4 templates, and 2 shards of each of 2 stages
    assert "verified: 8 cached artifacts were read completely" in again
    assert computed(clipes, "voc12-prompts") == {"candidate_texts": 0, "embeddings": 0, "prompts": 0}
    assert ranking_of(clipes) == ranking


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_with_miou_compares_sharpness_with_the_scores_of_the_cams(clipes, ranking_arguments, own_templates):
    arguments = (*ranking_arguments, *own_templates(*THREE), "--with-miou", "--name", "both", "--miou-photos", "4")

    shown = ok(clipes(*arguments))

    assert computed(clipes, "both") == {"candidate_texts": 135, "embeddings": 9, "prompts": 9, "prompt_scores": 4}
    rows = pq.read_table(folder_of(clipes, "both") / "prompt_scores.parquet").to_pylist()
    assert [row["template"] for row in rows] == [row["template"] for row in ranking_of(clipes, "both")]
    assert all(0 < row["initial_miou"] < 1 and 0 < row["refined_miou"] < 1 for row in rows)
    assert all(row["initial_power"] in range(1, 11) and row["refined_power"] in (1, 2) for row in rows)
    found = json_of(clipes, "both", "metrics.json")["prompt_scores"]
    assert (found["templates"], found["photos"]) == (3, 4)
    for kind in ("initial", "refined"):
        order = np.argsort(np.argsort([row[f"{kind}_miou"] for row in rows]))
        by_hand = np.corrcoef(order, np.arange(3))[0, 1]
        assert found[f"spearman_{kind}"] == pytest.approx(by_hand)
        assert f"{kind} CAM: Spearman {by_hand:+.2f} (3 templates, 4 photos)" in shown
    assert_picture(folder_of(clipes, "both") / "prompt_scores.png", 20)

    ok(clipes(*arguments))
    assert set(computed(clipes, "both").values()) == {0}
    assert not (folder_of(clipes, "both") / "history").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_auto_uses_the_best_template_and_computes_nothing_twice(clipes, scene_arguments):
    fast = ("--set", "crf.enabled=false")
    auto = (*scene_arguments, *fast, "--set", "prompts.template=auto")
    plan = ok(clipes(*auto, "--plan"))
    assert [line.split()[0] for line in plan.splitlines()[1:4]] == ["candidate_texts", "embeddings", "prompts"]
    assert "prompts.template is auto" in plan
    assert not (clipes.folder / "clipes-store").exists()

    ok(clipes(*auto, "--until", "texts"))
    begun = json_of(clipes, "voc12", "run.json")
    assert begun["stage_keys"].keys() == {"candidate_texts", "embeddings", "prompts", "texts"}

    done = clipes(*auto)
    shown = ok(done)
    best = ranking_of(clipes, "voc12")[0]
    run = json_of(clipes, "voc12", "run.json")
    assert f"prompts.template is auto: the template is {best['template']!r}" in done.stderr
    assert f"best of 82 templates (sharpness {best['sharpness']:.5f}, lower is better): {best['template']}" in shown
    assert (run["template"], run["config"]["prompts"]["template"]) == (best["template"], "auto")
    assert json_of(clipes, "voc12", "metrics.json")["prompts"]["template"] == best["template"]
    report = html.unescape((folder_of(clipes, "voc12") / "report.html").read_text())
    assert f"{best['template']} (the best of the candidates)" in report
    assert computed(clipes, "voc12") == {
        **dict.fromkeys(("candidate_texts", "embeddings", "prompts", "texts"), 0),
        **dict.fromkeys(("cams", "masks", "mask_scores"), 9),
    }
    history = sorted((folder_of(clipes, "voc12") / "history").iterdir())
    assert len(history) == 1  # the run with --until texts

    again = clipes(*auto)
    assert "nothing to compute" in ok(again)
    assert "changed since the last run" not in again.stderr
    assert sorted((folder_of(clipes, "voc12") / "history").iterdir()) == history

    named = ok(clipes(*scene_arguments, *fast, "--set", f"prompts.template={best['template']}", "--plan"))
    assert [line.split()[-1] for line in named.splitlines()[1:]] == ["0"] * 4
    assert [line.split()[0] for line in named.splitlines()[1:]] == ["texts", "cams", "masks", "mask_scores"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a {}.", "", "a photo."], "own.txt, line 3: 'a photo.' must contain {} exactly once"),
        (["", "  "], "own.txt: has no template"),
        (
            ["a {}.", "a {} " + "very " * 90 + "far away."],
            "far away.' has more than the 77 tokens that CLIP reads",
        ),
    ],
)
def test_invalid_templates_exit_with_2_before_a_photo_is_encoded(
    clipes, ranking_arguments, own_templates, lines, message
):
    done = clipes(*ranking_arguments, *own_templates(*lines))
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (clipes.folder / "clipes-store" / "artifacts" / "embeddings").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "labels", "arguments", "message"),
    [
        ("prompts", "", (), "none of the 1 photos has a label"),
        ("run", "", ("--set", "prompts.template=auto"), "none of the 1 photos has a label"),
        ("prompts", "bird", ("--with-miou",), "--with-miou: no photo with labels has a true mask"),
    ],
)
def test_photos_without_the_required_labels_or_truth_exit_with_2(
    clipes, scene_arguments, scene_photos, command, labels, arguments, message
):
    (clipes.folder / "photos.csv").write_text(f"image,labels\nscene_02.jpg,{labels}\n")
    photos = settings("dataset.format=list", "dataset.split=photos.csv", f"dataset.root={scene_photos / 'JPEGImages'}")
    done = clipes(command, *scene_arguments[1:], *photos, *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert not (clipes.folder / "clipes-store").exists()
