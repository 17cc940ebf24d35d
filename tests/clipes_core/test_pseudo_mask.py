import numpy as np
import pytest
from PIL import Image

from clipes_core.config.pseudo_masks import ConfidenceConfig, CrfConfig
from clipes_core.device import finish
from clipes_core.errors import PhotoError, ShapeError
from clipes_core.pseudo_mask import (
    IGNORE_INDEX,
    background_score,
    ignore_unsure,
    pseudo_mask,
    pseudo_masks,
    resize_cams,
    scores_with_background,
)

NO_CRF = CrfConfig(enabled=False)
FROM_CRF, FROM_CAM = ConfidenceConfig(source="crf"), ConfidenceConfig(source="cam")


def black(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_cam_that_is_not_finite_is_refused(value):
    cam = np.full((1, 2, 2), value, np.float32)
    with pytest.raises(PhotoError, match=r"^a CAM contains NaN or infinity"):
        pseudo_mask(black(4, 4), cam, np.array([1]), NO_CRF, FROM_CAM)


def test_background_score_is_the_complement_of_the_strongest_cam():
    cams = np.array([[[0.2, 0.5]], [[0.1, 0.75]]], np.float32)

    scores = scores_with_background(cams, power=2)

    assert scores.dtype == np.float32
    assert scores == pytest.approx(np.array([[[0.64, 0.0625]], [[0.2, 0.5]], [[0.1, 0.75]]]))


def test_background_score_of_a_cam_rounded_above_one_is_zero():
    assert background_score(np.array([1.0000001]), power=1.5).tolist() == [0]


def test_without_classes_the_background_score_is_one():
    assert scores_with_background(np.zeros((0, 2, 2)), power=3).tolist() == [[[1, 1], [1, 1]]]


def test_cams_are_resized_bilinearly_between_cell_centres():
    resized = resize_cams(np.array([[[0.0, 1.0]]]), (2, 4))
    assert resized.dtype == np.float32
    assert resized.tolist() == [[[0, 0.25, 0.75, 1], [0, 0.25, 0.75, 1]]]


def test_cams_are_resized_independently():
    cams = np.random.default_rng(0).random((600, 2, 3))  # cv2 itself takes at most 512 channels
    resized = resize_cams(cams, (5, 4))
    assert resized.shape == (600, 5, 4)
    assert np.array_equal(resized[599], resize_cams(cams[599:], (5, 4))[0])


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", "<f8"])
def test_cams_of_any_float_type_are_resized(dtype):
    cams = np.array([[[0.0, 0.5], [0.5, 1.0]]], dtype)
    assert resize_cams(cams, (2, 2)).tolist() == [[[0, 0.5], [0.5, 1]]]


def test_resized_cams_stay_in_range():
    resized = resize_cams(np.ones((1, 3, 7)), (31, 53))
    assert resized.max() <= 1
    assert resized == pytest.approx(np.ones((1, 31, 53)))


def test_empty_stacks_and_single_cells_can_be_resized():
    assert resize_cams(np.zeros((0, 2, 3)), (4, 5)).shape == (0, 4, 5)
    assert resize_cams(np.full((1, 1, 1), 0.5), (2, 2)).tolist() == [[[0.5, 0.5], [0.5, 0.5]]]
    assert resize_cams(np.full((1, 4, 4), 0.5), (1, 1)).tolist() == [[[0.5]]]


def test_without_crf_a_pixel_gets_the_label_of_the_highest_score():
    cams = np.array([[[0.1, 0.75], [0.5, 0.2]], [[0.3, 0.25], [0.1, 0.6]]], np.float32)
    # background scores 0.7 0.25 / 0.5 0.4; background wins the tie at 0.5

    result = pseudo_mask(black(2, 2), cams, np.array([12, 15]), NO_CRF, FROM_CRF)

    assert result.mask.dtype == np.uint8
    assert result.mask.tolist() == [[0, 12], [0, 15]]
    assert result.confidence.dtype == np.uint8
    assert result.confidence.tolist() == [
        [178, 191],
        [128, 153],
    ]  # 178.499 as float32, 191.25


def test_a_tie_between_classes_goes_to_the_first():
    cams = np.full((2, 2, 2), 0.75)
    assert pseudo_mask(black(2, 2), cams, np.array([9, 3]), NO_CRF, FROM_CRF).mask.tolist() == [
        [9, 9],
        [9, 9],
    ]


def test_background_power_changes_masks_and_scores_but_not_cam_confidence():
    cams = np.full((1, 2, 2), 0.4, np.float32)
    squared = CrfConfig(enabled=False, background_power=2)

    result = pseudo_mask(black(2, 2), cams, np.array([3]), squared, FROM_CRF)
    from_cam = pseudo_mask(black(2, 2), cams, np.array([3]), squared, FROM_CAM)

    # 0.6^2 = 0.36 < 0.4; eq. (8): max(0.6, 0.4)
    assert result.mask.tolist() == [[3, 3], [3, 3]]
    assert result.confidence.tolist() == [[102, 102], [102, 102]]
    assert from_cam.confidence.tolist() == [[153, 153], [153, 153]]


def test_without_classes_every_pixel_is_background_with_confidence_one():
    result = pseudo_mask(black(3, 2), np.zeros((0, 1, 1)), np.array([], int), CrfConfig(), FROM_CRF)
    assert result.mask.tolist() == [[0, 0]] * 3
    assert result.confidence.tolist() == [[255, 255]] * 3


@pytest.mark.parametrize("size_hw", [(2, 2), (2, 9), (1, 1)])
def test_small_photos_have_masks(size_hw):
    result = pseudo_mask(black(*size_hw), np.ones((1, 1, 1)), np.array([254]), CrfConfig(), FROM_CRF)
    assert result.mask.tolist() == np.full(size_hw, 254).tolist()
    assert result.confidence.min() >= 254


def test_254_classes_fit_a_mask():
    cams = np.zeros((254, 4, 4))
    cams[253] = 0.9
    for crf in (CrfConfig(), NO_CRF):
        result = pseudo_mask(black(4, 4), cams, np.arange(1, 255), crf, FROM_CRF)
        assert np.array_equal(result.mask, np.full((4, 4), 254))


def test_a_class_with_an_empty_cam_is_never_chosen():
    cams = np.stack([np.zeros((2, 2)), np.full((2, 2), 0.8)])
    assert (pseudo_mask(black(2, 2), cams, np.array([1, 2]), CrfConfig(), FROM_CRF).mask == 2).all()


def test_stored_cams_give_the_masks_of_the_published_program(real_data, golden):
    image_rgb = np.asarray(Image.open(real_data / "JPEGImages" / "2007_000363.jpg"))
    expected = np.load(golden / "2007_000363.npz")
    stored = expected["refined_cam"].astype(np.float16)

    result = pseudo_mask(image_rgb, stored, expected["class_ids"], CrfConfig(), FROM_CRF)

    assert (result.mask == expected["mask_rgb"]).mean() >= 0.999
    difference = result.confidence.astype(int) - expected["confidence_rgb"]
    assert (np.abs(difference) <= 2).mean() >= 0.995


def test_does_not_mutate_its_inputs():
    rng = np.random.default_rng(0)
    image, cams, ids = (
        rng.integers(0, 256, (6, 5, 3), dtype=np.uint8),
        rng.random((2, 3, 3)),
        np.array([4, 2]),
    )
    before = image.copy(), cams.copy(), ids.copy()
    pseudo_mask(image, cams, ids, CrfConfig(background_power=2), FROM_CAM)
    for array, copy in zip((image, cams, ids), before, strict=True):
        assert np.array_equal(array, copy)


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize("confidence", [FROM_CRF, FROM_CAM])
def test_each_of_several_photos_has_the_mask_of_a_single_photo(device, confidence):
    random, crf = np.random.default_rng(0), CrfConfig(backend="lattice", background_power=2)
    sizes_and_ids = [((24, 31), [7]), ((24, 31), []), ((24, 31), [9, 3]), ((17, 8), [5]), ((24, 31), [2])]
    photos = [
        (random.integers(0, 256, (*size, 3), dtype=np.uint8), random.random((len(ids), 3, 4)), np.array(ids, int))
        for size, ids in sizes_and_ids
    ]
    made = finish(pseudo_masks(photos, crf, confidence, device))
    assert len(made) == len(photos)
    for each, photo in zip(made, photos, strict=True):
        expected = pseudo_mask(*photo, crf, confidence)
        assert np.array_equal(each.mask, expected.mask)
        assert np.abs(each.confidence.astype(int) - expected.confidence).max() <= 1


@pytest.mark.parametrize("device", [None, "cpu"])
def test_the_share_of_pixels_that_the_crf_changed_compares_the_masks_with_and_without_it(device):
    random, crf = np.random.default_rng(0), CrfConfig(backend="lattice")
    image_rgb, cam = random.integers(0, 256, (24, 31, 3), dtype=np.uint8), random.random((2, 3, 4))
    photo = (image_rgb, cam, np.array([9, 3]))
    (made,) = finish(pseudo_masks([photo], crf, FROM_CRF, device))
    without = pseudo_mask(*photo, NO_CRF, FROM_CRF)
    assert made.crf_changed == (made.mask != without.mask).mean() > 0
    assert without.crf_changed is None


def test_pixels_below_the_threshold_are_ignored():
    mask = np.array([[1, 2, 0, 0]], np.uint8)
    confidence = np.array([[242, 243, 242, 255]], np.uint8)
    assert ignore_unsure(mask, confidence, mu=0.95).tolist() == [[IGNORE_INDEX, 2, IGNORE_INDEX, 0]]
    assert mask.tolist() == [[1, 2, 0, 0]]


def test_pixels_at_the_threshold_are_kept():
    mask, confidence = np.array([[7, 7]], np.uint8), np.array([[50, 51]], np.uint8)
    assert ignore_unsure(mask, confidence, mu=0.2).tolist() == [[IGNORE_INDEX, 7]]


def test_threshold_0_keeps_all_pixels_and_1_only_certain_ones():
    mask, confidence = np.array([[7, 7]], np.uint8), np.array([[0, 255]], np.uint8)
    assert ignore_unsure(mask, confidence, mu=0).tolist() == [[7, 7]]
    assert ignore_unsure(mask, confidence, mu=1).tolist() == [[IGNORE_INDEX, 7]]


@pytest.mark.parametrize(
    ("mask", "confidence"),
    [
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8)),
        (np.zeros((2, 2), int), np.zeros((2, 2), np.uint8)),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2))),
    ],
)
def test_rejects_a_confidence_map_of_a_different_size(mask, confidence):
    with pytest.raises(ShapeError, match=r"mask and confidence must be uint8 arrays of the same shape \(H, W\), got"):
        ignore_unsure(mask, confidence, mu=0.95)


@pytest.mark.parametrize("shape", [(2, 2), (1, 0, 2)])
def test_rejects_cams_without_a_grid(shape):
    with pytest.raises(ShapeError, match=r"cams must be \(K, h, w\) with h, w >= 1, got"):
        resize_cams(np.zeros(shape), (4, 4))


def test_rejects_a_score_without_a_class_axis():
    with pytest.raises(ShapeError, match=r"cams must be \(K, H, W\), got \(2, 2\)"):
        scores_with_background(np.zeros((2, 2)), power=1)


def test_rejects_ids_that_do_not_match_the_cams():
    with pytest.raises(ShapeError, match=r"class_ids must be \(2,\) for 2 CAMs, got \(3,\)"):
        pseudo_mask(black(2, 2), np.zeros((2, 1, 1)), np.array([1, 2, 3]), CrfConfig(), FROM_CRF)


@pytest.mark.parametrize("class_id", [0, 255, 256, -1])
def test_rejects_ids_that_a_mask_cannot_hold(class_id):
    with pytest.raises(ShapeError, match=rf"class_ids must be in \[1, 254\], got \[{class_id}\]"):
        pseudo_mask(black(2, 2), np.zeros((1, 1, 1)), np.array([class_id]), CrfConfig(), FROM_CRF)


def test_rejects_a_photo_that_the_crf_cannot_read():
    with pytest.raises(ShapeError, match=r"image_rgb must be \(H, W, 3\) uint8, got \(2, 2, 4\) uint8"):
        pseudo_mask(np.zeros((2, 2, 4), np.uint8), np.zeros((1, 1, 1)), np.array([1]), CrfConfig(), FROM_CRF)
