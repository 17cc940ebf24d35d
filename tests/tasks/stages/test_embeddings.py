import numpy as np
import pytest
from PIL import Image
from support.oracle import oracle_model, view_pixels, visual_pass
from support.prepared import prepare_ranking
from support.small_resnets import resnet_clip
from support.small_runs import make_run

CANDIDATES = ("a {}.", "the {}.")


@pytest.fixture
def ranked(tiny, pool):
    """Return a function that ranks two candidates on the added photos with the given settings."""
    return lambda candidates=CANDIDATES, **sections: make_run(
        prepare_ranking(tiny.config(**sections), candidates), pool
    )


@pytest.mark.parametrize("image_id", ["scene_00", "scene_02"])
def test_an_embedding_equals_that_of_the_oracle(scenes_ranked, seeded_weights, scene_photos, image_id):
    model = oracle_model(seeded_weights)
    photo = Image.open(scene_photos / "JPEGImages" / f"{image_id}.jpg").convert("RGB")
    expected = visual_pass(model, view_pixels(photo, 1.0, 16, False), "patch_mean").embedding
    row = scenes_ranked.rows("embeddings")[image_id]
    np.testing.assert_allclose(row["embedding"], expected.detach(), rtol=0, atol=2e-4)
    assert row["logit_scale"] == pytest.approx(20, abs=0.02)


def test_the_pooling_is_the_configured_one(tiny, ranked, seeded_weights):
    path = tiny.add("a", "cat")
    row = ranked(clip={"pooling": "cls"}).rows("embeddings")["a"]
    pixels = view_pixels(Image.open(path).convert("RGB"), 1.0, 16, False)
    expected = visual_pass(oracle_model(seeded_weights), pixels, "cls").embedding
    np.testing.assert_allclose(row["embedding"], expected.detach(), rtol=0, atol=2e-4)


def test_a_resnet_ranks_templates_by_the_embeddings_of_its_own_pooling(tiny, ranked, resnet_settings):
    path = tiny.add("a", "cat;dog")
    made = ranked(clip=resnet_settings, cam={"refine": "none"})
    expected = visual_pass(resnet_clip(), view_pixels(Image.open(path).convert("RGB"), 1.0, 32, False), "attention")
    np.testing.assert_allclose(made.rows("embeddings")["a"]["embedding"], expected.embedding.detach(), atol=2e-4)
    assert len(made.rows("prompts")["a"]["scores"]) == 2 * len(CANDIDATES)


def test_only_photos_with_labels_are_encoded(tiny, ranked):
    tiny.add("a", "cat;dog")
    tiny.add("b", "")
    assert ranked().rows("embeddings").keys() == {"a"}


def test_new_templates_reuse_the_photo_embeddings(tiny, ranked):
    for name in "abc":
        tiny.add(name, "cat;dog")
    assert ranked().counts() == {"embeddings": (3, 0, 3), "prompts": (3, 0, 3)}
    assert ranked().counts() == {"embeddings": (3, 0, 0), "prompts": (3, 0, 0)}
    assert ranked(("one {}.", "a {}.")).counts() == {"embeddings": (3, 0, 0), "prompts": (3, 0, 3)}


def test_only_a_new_photo_is_encoded_and_the_others_are_copied(tiny, ranked):
    tiny.add("a", "cat;dog")
    before = ranked().rows("embeddings")["a"]
    tiny.add("b", "dog")
    after = ranked()
    assert after.counts() == {"embeddings": (2, 1, 1), "prompts": (2, 1, 1)}
    assert after.rows("embeddings")["a"] == before


def test_an_undecodable_photo_is_a_row_with_an_error_and_is_not_scored(tiny, ranked):
    tiny.add("a", "cat;dog")
    tiny.add("b", "dog").write_bytes(b"no picture")
    made = ranked()
    row, scored = made.rows("embeddings")["b"], made.rows("prompts")["b"]
    assert (row["status"], row["error_kind"], row["embedding"]) == ("error", "undecodable", [])
    assert (scored["status"], scored["error_kind"], scored["scores"]) == ("error", "upstream", [])
    assert made.rows("prompts")["a"]["status"] == "ok"


def test_a_converted_photo_has_a_note(tiny, ranked):
    tiny.add("a", "cat", size=(300, 200))
    row = ranked(dataset={"max_side": 96}).rows("embeddings")["a"]
    assert row["notes"] == ["reduced from 300x200 to 96x64"]
