"""The oracle, compared with outputs of the published program, OpenCLIP's encoders and numbers computed by hand."""

import ast
from pathlib import Path

import cv2
import numpy as np
import open_clip
import pytest
import torch
from numpy.testing import assert_allclose
from PIL import Image, ImageOps
from support.oracle import (
    VOC_BACKGROUND_WORDS,
    VOC_WORDS,
    Cams,
    affinity,
    box_mask,
    crf_image,
    encode_text,
    initial_cam,
    normalised,
    oracle_cams,
    oracle_confusion,
    oracle_mask,
    oracle_metrics,
    oracle_model,
    oracle_sharpness,
    oracle_text_feature,
    resized,
    view_pixels,
    visual_pass,
)
from support.timm_networks import timm_clip

PHOTOS = (
    *("2007_000063", "2007_000068", "2007_000256", "2007_000363", "2007_000392", "2007_000504"),
    *("2007_001185", "2007_001340", "2007_001420"),
)
SENTENCE = "a clean origami bird avian."


@pytest.fixture(scope="module")
def golden_model(golden: Path) -> open_clip.CLIP:
    return oracle_model(golden / "small_vit.pt")


@pytest.fixture(scope="module")
def model(seeded_weights: Path) -> open_clip.CLIP:
    return oracle_model(seeded_weights)


@pytest.fixture(scope="module")
def photo(large_scene: Image.Image) -> Image.Image:
    return large_scene.resize((96, 70))


def opened(real_data: Path, image_id: str) -> Image.Image:
    return Image.open(real_data / "JPEGImages" / f"{image_id}.jpg").convert("RGB")


def words_of(class_ids: np.ndarray) -> list[list[str]]:
    return [[VOC_WORDS[class_id - 1]] for class_id in class_ids]


def assert_same_cams(actual: Cams, expected: Cams, atol: float = 1e-12) -> None:
    for one, other in zip(actual, expected, strict=True):
        assert_allclose(one, other, rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["oracle.py", "resnet_oracle.py"])
def test_the_oracle_imports_nothing_from_the_project(name: str) -> None:
    tree = ast.parse((Path(__file__).parent / "support" / name).read_text())
    plain = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    imported_from = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    roots = {name.split(".")[0] for name in plain + [str(node.module) for node in imported_from]}
    assert {"torch", "numpy"} <= roots
    assert roots.isdisjoint({"clipes", "clipes_core", "tasks", "flows", "importlib"})
    assert all(node.level == 0 for node in imported_from)


@pytest.mark.parametrize("image_id", PHOTOS)
def test_cams_equal_those_of_the_published_program(
    image_id: str, golden_model: open_clip.CLIP, golden: Path, real_data: Path
) -> None:
    expected = np.load(golden / f"{image_id}.npz")
    actual = oracle_cams(golden_model, opened(real_data, image_id), words_of(expected["class_ids"]))
    assert_allclose(actual.scores, expected["softmax_scores"], rtol=0, atol=1e-5)
    assert_allclose(actual.cam, expected["cam"], rtol=0, atol=1e-3)
    assert_allclose(actual.refined, expected["refined_cam"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("image", ["rgb", "reference"])
@pytest.mark.parametrize("image_id", ["2007_000068", "2007_000504", "2007_001185"])
def test_masks_equal_those_of_the_published_program(
    image_id: str, image: str, golden_model: open_clip.CLIP, golden: Path, real_data: Path
) -> None:
    expected = np.load(golden / f"{image_id}.npz")
    photo = opened(real_data, image_id)
    refined = oracle_cams(golden_model, photo, words_of(expected["class_ids"])).refined
    index, confidence = oracle_mask(photo, refined, image=image, half_input=True)
    mask = np.array([0, *expected["class_ids"]])[index]
    off = np.abs(np.round(255 * confidence) - expected[f"confidence_{image}"].astype(float))
    assert (mask == expected[f"mask_{image}"]).mean() >= 0.999
    assert (off <= 2).mean() >= 0.999


def test_encoders_agree_with_those_of_open_clip(
    model: open_clip.CLIP, seeded_weights: Path, photo: Image.Image
) -> None:
    double = oracle_model(seeded_weights).double()
    pixels = view_pixels(photo.resize((224, 224)), 1.0, 16, mirrored=False)
    mean, std = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)
    image = ((torch.tensor(pixels) / 255 - mean) / std).double().permute(2, 0, 1)[None]
    with torch.no_grad():
        image_embedding = double.encode_image(image)[0]
        text_embedding = double.encode_text(open_clip.tokenize([SENTENCE]))[0]
    assert_allclose(visual_pass(model, pixels, "cls").embedding.detach(), image_embedding, rtol=1e-4, atol=1e-5)
    assert_allclose(encode_text(model, SENTENCE), text_embedding, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("network", "pooling"),
    [
        ("siglip", "attention"),
        ("siglip2", "attention"),
        ("eva01", "cls"),
        ("eva01_scaled", "cls"),
        ("clip", "cls"),
        ("mean", "patch_mean"),
        ("mean_then_norm", "patch_mean"),
    ],
)
def test_encoders_with_a_network_of_timm_agree_with_those_of_open_clip(
    network: str, pooling: str, photo: Image.Image
) -> None:
    double = timm_clip(network).double()
    pixels = view_pixels(photo.resize((48, 48)), 1.0, 8, mirrored=False)
    mean, std = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)
    image = ((torch.tensor(pixels) / 255 - mean) / std).double().permute(2, 0, 1)[None]
    with torch.no_grad():
        image_embedding = double.encode_image(image)[0]
        text_embedding = double.encode_text(open_clip.tokenize([SENTENCE]))[0]
    embedding = visual_pass(timm_clip(network), pixels, pooling).embedding.detach()
    assert_allclose(embedding, image_embedding, rtol=1e-5, atol=1e-5)
    assert_allclose(encode_text(double, SENTENCE), text_embedding, rtol=1e-9, atol=1e-9)


def test_synonyms_and_templates_are_averaged_as_unit_vectors(model: open_clip.CLIP) -> None:
    templates = ("a {}.", "{} of origami.")
    bird, avian = (oracle_text_feature(model, [word], templates) for word in ("bird", "avian"))
    raw = [encode_text(model, sentence) for sentence in ("a bird.", "bird of origami.")]
    mean = raw[0] / raw[0].norm() + raw[1] / raw[1].norm()
    assert_allclose(bird, mean / mean.norm(), atol=1e-12)
    both = oracle_text_feature(model, ["bird", "avian"], templates)
    assert_allclose(both, (bird + avian) / (bird + avian).norm(), atol=1e-12)


def test_feature_fusion_scores_the_mean_feature_of_the_synonyms(model: open_clip.CLIP, photo: Image.Image) -> None:
    pixels = view_pixels(photo, 1.0, 16, mirrored=False)
    embedding = visual_pass(model, pixels, "patch_mean").embedding.detach()
    feature = oracle_text_feature(model, ["bird", "avian"], ("a clean origami {}.",))
    cosine = torch.nn.functional.cosine_similarity(embedding, feature, dim=0)
    fused = oracle_cams(model, photo, [["bird", "avian"]], (), fusion="feature", softmax=False)
    assert_allclose(fused.scores, [float(model.logit_scale.detach().double().exp() * cosine)], rtol=1e-6)


def test_cam_fusion_averages_a_cam_per_synonym_with_all_classes_competing(
    model: open_clip.CLIP, photo: Image.Image
) -> None:
    settings = {"background": ("sky",), "refine": "none"}
    synonyms = [["bird", "avian"], ["dog"], ["person", "people", "human"]]
    fused = oracle_cams(model, photo, synonyms, fusion="cam", **settings)
    words = [("bird", "dog", "person"), ("avian", "dog", "people"), ("bird", "dog", "human")]
    first, second, third = (oracle_cams(model, photo, [[word] for word in one], **settings) for one in words)
    for name in ("scores", "cam"):
        one, two, three = (getattr(each, name) for each in (first, second, third))
        expected = [(one[0] + two[0]) / 2, one[1], (one[2] + two[2] + three[2]) / 3]
        assert_allclose(getattr(fused, name), expected, atol=1e-12)
    assert_allclose(fused.refined, fused.cam, atol=0)


def test_sentence_fusion_rejects_separate_synonyms(model: open_clip.CLIP, photo: Image.Image) -> None:
    with pytest.raises(ValueError, match="one sentence per class, got"):
        oracle_cams(model, photo, [["bird", "avian"]])


def test_background_words_lower_softmax_scores_but_not_logits(model: open_clip.CLIP, photo: Image.Image) -> None:
    alone = oracle_cams(model, photo, [["dog"], ["cat"]], (), softmax=False)
    among = oracle_cams(model, photo, [["dog"], ["cat"]], ("sky", "sea"), softmax=False)
    assert_same_cams(alone, among)
    sky, sea = (oracle_cams(model, photo, [[word]], (), softmax=False).scores[0] for word in ("sky", "sea"))
    odds = np.exp([*alone.scores, sky, sea])
    softmax = oracle_cams(model, photo, [["dog"], ["cat"]], ("sky", "sea"))
    assert_allclose(softmax.scores, odds[:2] / odds.sum(), rtol=1e-9)


def test_flip_averages_the_cams_of_the_photo_and_its_mirror_image(model: open_clip.CLIP, photo: Image.Image) -> None:
    plain, mirror = (oracle_cams(model, one, [["dog"]]) for one in (photo, ImageOps.mirror(photo)))
    flipped = oracle_cams(model, photo, [["dog"]], flip=True)
    expected = [(plain[0] + mirror[0]) / 2] + [(plain[i] + mirror[i][:, :, ::-1]) / 2 for i in (1, 2)]
    assert_same_cams(flipped, Cams(*expected))


def test_cams_of_all_scales_are_averaged_on_the_grid_of_scale_1(model: open_clip.CLIP, photo: Image.Image) -> None:
    both = oracle_cams(model, photo, [["dog"]], scales=(1.0, 1.5))
    plain = oracle_cams(model, photo, [["dog"]])
    large = oracle_cams(model, photo.resize((144, 112), Image.Resampling.BICUBIC), [["dog"]])
    assert both.cam.shape == (1, 5, 6)
    assert large.cam.shape == (1, 7, 9)
    expected = [(plain[0] + large[0]) / 2] + [(plain[i] + resized(large[i], (5, 6))) / 2 for i in (1, 2)]
    assert_same_cams(both, Cams(*expected))


def test_too_many_attention_blocks_mean_all_blocks_of_the_model(model: open_clip.CLIP, photo: Image.Image) -> None:
    twelve, many = (oracle_cams(model, photo, [["dog"]], attention_blocks=n) for n in (12, 40))
    assert_same_cams(twelve, many, atol=0)


def test_mhsa_refines_without_box_masks(model: open_clip.CLIP, photo: Image.Image) -> None:
    mhsa = oracle_cams(model, photo, [["dog"]], refine="mhsa")
    seen = visual_pass(model, view_pixels(photo, 1.0, 16, mirrored=False), "patch_mean")
    spread = affinity(torch.stack(seen.attentions[4:]).mean(dim=0).numpy(), 3)
    expected = normalised(spread @ spread @ mhsa.cam.ravel())
    assert_allclose(mhsa.refined.ravel(), expected, atol=1e-9)


def test_initial_cam_weighs_channels_by_the_mean_gradient() -> None:
    patches = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 4.0]], dtype=torch.float64, requires_grad=True)
    score = 6 * patches[0, 0] - 3 * patches[2, 1]
    # weights (2, -1): raw map (0, 6, -4), then ReLU
    assert_allclose(initial_cam(score, patches), [0, 1, 0], atol=3e-7)


def test_normalising_twice_raises_the_peak_of_a_tiny_map_to_one() -> None:
    once = normalised(np.array([0.0, 1e-7]))
    assert_allclose(once, [0, 0.5])
    assert_allclose(normalised(once), [0, 1], atol=3e-7)


def test_affinity_normalises_columns_first_and_is_symmetric() -> None:
    # The columns sum to 4 and 4: (1/4, 1/2; 3/4, 1/2). Then the rows sum to 3/4 and 5/4: (1/3, 2/3; 3/5, 2/5).
    once = affinity(np.array([[1.0, 2.0], [3.0, 2.0]]), sinkhorn_rounds=1)
    assert_allclose(once, [[1 / 3, 19 / 30], [19 / 30, 2 / 5]])
    assert_allclose(affinity(np.array([[1.0, 2.0], [3.0, 2.0]]), 200).sum(axis=0), [1, 1])


def test_a_box_covers_its_region_except_the_last_row_and_column() -> None:
    cam = np.zeros((5, 6))
    cam[1, 1] = cam[2, 2] = 0.9  # the two cells touch at a corner
    cam[4, 4:] = 0.9
    cam[0, 4:] = cam[1, 5] = 0.5
    expected = np.zeros((5, 6))
    expected[1:3, 1:3] = 1
    expected[0:2, 4] = 1
    assert box_mask(cam, box_threshold=0.4).tolist() == expected.tolist()


def test_values_must_exceed_the_truncated_box_threshold() -> None:
    cam = np.full((3, 4), 0.4)  # 102 of 255
    cam[0, 0] = 254 / 255  # int(0.4 * 254) = 101, int(0.405 * 254) = 102
    assert box_mask(cam, box_threshold=0.4).sum() == 2 * 3
    assert box_mask(cam, box_threshold=0.405).sum() == 1


def test_boxes_equal_the_bounding_boxes_of_all_contours() -> None:
    cams = np.random.default_rng(0).random((60, 7, 9)) ** 3
    for cam in cams:
        grey = (cam * 255).astype(np.uint8)
        high = (grey > int(0.4 * grey.max())).astype(np.uint8)
        contours, _ = cv2.findContours(high, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        expected = np.zeros(cam.shape)
        for x, y, width, height in map(cv2.boundingRect, contours):
            expected[y : min(y + height, 6), x : min(x + width, 8)] = 1
        assert box_mask(cam, box_threshold=0.4).tolist() == expected.tolist()


def test_a_zero_cam_has_an_empty_box_mask() -> None:
    assert box_mask(np.zeros((3, 3)), box_threshold=0.4).sum() == 0


def test_the_reference_image_is_centred_bgr_truncated_and_wrapped() -> None:
    photo = Image.fromarray(np.array([[[122, 116, 200], [121, 255, 0]]], dtype=np.uint8))
    # B 200 - 104.008, G 116 - 116.669 -> 0, R 122 - 122.675 -> 0; -104.008, 138.331, -1.675 -> -1
    assert crf_image(photo, "reference").tolist() == [[[95, 0, 0], [152, 138, 255]]]
    assert crf_image(photo, "rgb").tolist() == [[[122, 116, 200], [121, 255, 0]]]


def test_without_crf_the_mask_is_the_argmax() -> None:
    photo = Image.new("RGB", (3, 1))
    refined = np.array([[[0.6, 0.1, 0.3]], [[0.2, 0.4, 0.0]]])
    index, confidence = oracle_mask(photo, refined, enabled=False)
    assert index.tolist() == [[1, 0, 0]]
    assert_allclose(confidence, [[0.6, 0.6, 0.7]])
    index, confidence = oracle_mask(photo, refined, enabled=False, background_power=2)
    assert index.tolist() == [[1, 2, 0]]
    assert_allclose(confidence, [[0.6, 0.4, 0.49]])
    _, confidence = oracle_mask(photo, refined, enabled=False, background_power=2, source="cam")
    assert_allclose(confidence, [[0.6, 0.6, 0.7]])


def test_a_crf_without_pairwise_weights_normalises_the_clipped_scores() -> None:
    photo = Image.new("RGB", (2, 1))
    refined = np.array([[[0.6, 1.0]], [[0.2, 0.5]]])
    index, confidence = oracle_mask(photo, refined, pos_w=0, bi_w=0)
    assert index.tolist() == [[1, 1]]
    assert_allclose(confidence, [[0.6 / 1.2, 1 / 1.50001]], rtol=1e-5)


def test_half_input_rounds_the_resized_cams() -> None:
    _, confidence = oracle_mask(Image.new("RGB", (1, 1)), np.full((1, 1, 1), 0.7), enabled=False, half_input=True)
    assert confidence.item() == float(np.float16(0.7))


def test_metrics_skip_ignored_pixels_and_classes_without_truth() -> None:
    truth = np.array([[0, 0, 1, 1, 255]])
    confusion = oracle_confusion(truth, np.array([[0, 1, 1, 2, 2]]), n_classes=3)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    metrics = oracle_metrics(confusion)
    assert metrics.class_iou == [1 / 2, 1 / 3, None, None]
    assert_allclose(metrics[:4], [5 / 12, 1 / 2, 1 / 2, 5 / 12])


def test_sharpness_is_summed_variance_over_summed_mean() -> None:
    scores = [np.array([0.1, 0.5]), np.array([0.4])]
    assert_allclose(oracle_sharpness(scores), (0.04 + 0) / (0.3 + 0.4))


def test_the_word_lists_have_the_published_lengths_and_examples() -> None:
    assert len(VOC_WORDS) == 20
    assert len(set(VOC_BACKGROUND_WORDS)) == 25
    assert (VOC_WORDS[2], VOC_WORDS[14]) == ("bird avian", "person with clothes,people,human")
