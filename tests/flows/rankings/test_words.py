"""`clipes synonyms` with a real Prefect server, on the demo's scenes and its CLIP."""

import json
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import yaml
from support.commands import settings
from support.prefect_artifacts import newest_artifact

CLASSES = ("car", "boat")
NONSENSE = "spoon"
SEEDS = (0, 1, 2)
NO_WORDNET = "--no-wordnet"


def ok(completed):
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def arguments(configs, *rest, seed=0, count=100):
    scenes = settings(f"dataset.seed={seed}", f"dataset.count={count}", "execution.shards=2")
    return ("synonyms", str(configs / "demo.yaml"), *rest, *scenes)


def computed(store, name):
    stages = json.loads((store / "runs" / name / "metrics.json").read_text())["stages"]
    return {stage: counts["computed_rows"] for stage, counts in stages.items() if stage != "manifest"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory, clipes_in, configs):
    """Rank words of two classes on scenes of three seeds, and keep the output of the first seed."""
    folder = tmp_path_factory.mktemp("demo")
    clipes = clipes_in(folder)
    outputs = [
        ok(clipes(*arguments(configs, *CLASSES, "--word", NONSENSE, NO_WORDNET, seed=seed), "--name", f"seed{seed}"))
        for seed in SEEDS
    ]
    return SimpleNamespace(clipes=clipes, store=folder / "clipes-store", output=outputs[0], folder=folder)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "synonym"), [("car", "automobile"), ("boat", "ship")])
def test_words_that_clip_has_learned_rank_above_nonsense(demo, seed, name, synonym):
    rows = pq.read_table(demo.store / "runs" / f"seed{seed}" / "synonyms.parquet").to_pylist()
    ranks = {row["word"]: row["rank"] for row in rows if row["class"] == name}
    assert max(ranks[name], ranks[synonym]) < ranks[NONSENSE]
    margins = {row["word"]: row["margin"] for row in rows if row["class"] == name}
    assert margins[synonym] > 1.5 * max(margins[NONSENSE], 0)


def test_the_ranking_is_printed_with_lines_for_the_vocabulary(demo):
    assert "car: " in demo.output
    assert "photos with it" in demo.output
    line = next(line for line in demo.output.splitlines() if line.startswith("  - {name: boat"))
    assert "ship" in yaml.safe_load(line)[0]["synonyms"]
    assert "run seed0: " in demo.output


def test_the_scores_are_shown_in_the_prefect_ui(demo):
    artifact = newest_artifact(demo.clipes.environment, "seed0-words")
    rows = json.loads(artifact.data)
    assert {(row["class"], row["word"]) for row in rows} >= {("car", "automobile"), ("boat", NONSENSE)}


def test_a_second_call_computes_only_the_texts_of_new_words(demo, configs):
    call = arguments(configs, *CLASSES, "--word", NONSENSE, NO_WORDNET)
    shown = ok(demo.clipes(*call, "--name", "seed0"))
    assert set(computed(demo.store, "seed0").values()) == {0}
    assert "nothing to compute" in shown

    ok(demo.clipes(*call, "--word", "ferry", "--name", "seed0"))
    found = computed(demo.store, "seed0")
    assert (found["word_texts"], found["texts"], found["embeddings"]) == (1, 0, 0)
    assert json.loads((demo.store / "runs" / "seed0" / "metrics.json").read_text())["words"]["words_encoded"] == 1


def test_water_fires_on_boats_and_a_new_vocabulary_is_written(demo, configs):
    call = arguments(configs, "--background", "--word", "water", "--word", "harbour", "--to", "new.yaml", "--json")
    done = demo.clipes(*call)
    document = json.loads(ok(done))
    boat = [row for row in document["background_words"] if row["class"] == "boat"]
    assert {row["word"] for row in boat[:2]} == {"water", "sea"}  # the scenes show boats on water
    assert boat[0]["share"] > 2 * boat[0]["share_elsewhere"]
    assert boat[0]["fires"] > 0
    assert boat[0]["examples"]
    assert computed(demo.store, "demo-background")["embeddings"] == 0  # those of the ranking of synonyms
    written = yaml.safe_load((demo.folder / "new.yaml").read_text())
    assert written["background_words"][:3] == ["water", "sea", "road"]
    assert len(written["classes"]) == 8
    assert "to use it, set dataset.classes=new.yaml" in done.stderr

    again = demo.clipes(*call)
    assert again.returncode == 2
    assert "--to: new.yaml exists already" in again.stderr


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        (("cars", NO_WORDNET), "no class 'cars'; did you mean car?"),
        ((NO_WORDNET,), "name a class, or add --background; the classes are: car, bus, boat"),
        (("car", NO_WORDNET), "no word to compare with the current words of car. Name words with --word or --words"),
        (("car", "--words", "none.txt"), "none.txt: this file of words does not exist"),
        (("car", "--word", "tern " * 80, NO_WORDNET), "but CLIP reads at most"),
        (("car", "--word", "van", NO_WORDNET, "--set", "prompts.template=auto"), "prompts.template is auto"),
        (("cat", "--word", "lion", NO_WORDNET, "--set", "dataset.sample=1"), "photos has the label cat"),
    ],
)
def test_a_mistake_is_reported_in_one_line(demo, configs, rest, message):
    done = demo.clipes(*arguments(configs, *rest))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
