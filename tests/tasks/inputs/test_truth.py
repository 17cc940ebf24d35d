import numpy as np
import pytest
from PIL import Image

from clipes.tasks.inputs.photos import Photo
from clipes.tasks.inputs.truth import load_ids, load_truth
from clipes.tasks.storage.listing import fingerprint_of_stat
from clipes_core.errors import PhotoError


def test_a_true_mask_has_the_size_of_its_photo(tmp_path):
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(ids).save(tmp_path / "a.png")

    photo = Photo("a", "a.jpg", 1, "1", (), str(tmp_path / "a.png"), fingerprint_of_stat((tmp_path / "a.png").stat()))

    assert (load_truth(photo, (3, 4)) == ids).all()
    with pytest.raises(PhotoError, match=r"^the true mask is 4x3 and the photo is 3x4: they must have the") as caught:
        load_truth(photo, (4, 3))
    assert caught.value.kind == "bad_truth"


@pytest.mark.parametrize("mode", ["P", "L"])
def test_ids_are_the_pixel_values_of_a_palette_or_grey_image(tmp_path, mode):
    ids = np.array([[0, 1, 20], [255, 254, 3]], np.uint8)
    image = Image.fromarray(ids)
    if mode == "P":
        image.putpalette([9, 8, 7] * 256)
    image.save(tmp_path / "a.png")

    found = load_ids(str(tmp_path / "a.png"))

    assert found.dtype == np.uint8
    assert (found == ids).all()


def test_a_real_mask_has_the_expected_ids(real_data):
    ids = load_ids(str(real_data / "SegmentationClass" / "2007_000068.png"))
    assert ids.shape == (375, 500)
    assert set(np.unique(ids)) == {0, 3, 255}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "1", "I;16"])
def test_an_image_in_colours_is_refused(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(
        PhotoError, match=rf"a\.png: the true mask has mode {mode}: it must be a palette or grey PNG"
    ) as caught:
        load_ids(str(tmp_path / "a.png"))
    assert caught.value.kind == "bad_truth"


def test_missing_and_broken_files_are_different_errors(tmp_path):
    (tmp_path / "a.png").write_bytes(b"PNG")
    kinds = []
    for name in ("a", "none"):
        with pytest.raises(PhotoError) as caught:
            load_ids(str(tmp_path / f"{name}.png"))
        kinds.append(caught.value.kind)
    assert kinds == ["undecodable", "missing"]


def test_a_jpeg_is_refused(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "a.png", "JPEG")
    with pytest.raises(
        PhotoError, match=r"a\.png: the true mask is a JPEG, whose compression changes ids: use a PNG"
    ) as caught:
        load_ids(str(tmp_path / "a.png"))
    assert caught.value.kind == "bad_truth"


@pytest.mark.parametrize("listed", [True, False])
def test_a_true_mask_that_changed_or_appeared_since_the_listing_is_not_used(tmp_path, listed):
    Image.new("L", (4, 3)).save(tmp_path / "a.png")
    fingerprint = fingerprint_of_stat((tmp_path / "a.png").stat()) if listed else None
    photo = Photo("a", "a.jpg", 1, "1", (), str(tmp_path / "a.png"), fingerprint)
    Image.new("L", (4, 3), 1).save(tmp_path / "a.png")

    with pytest.raises(PhotoError, match=r"a\.png has changed since the run listed it: run again$") as caught:
        load_truth(photo, (3, 4))
    assert caught.value.kind == "changed"
