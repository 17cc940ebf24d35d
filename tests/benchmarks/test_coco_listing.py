from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FEW, MANY = 40, 12_000  # images


@pytest.fixture
def coco_listing(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import coco_listing

    return coco_listing


@pytest.mark.slow
def test_all_photos_are_listed_and_those_of_coco_fit_in_the_memory(coco_listing, tmp_path):
    """The memory for all images of COCO follows from the bytes per image, as all of them are listed in the same way."""
    memory_mib = {}
    for images, annotations in ((FEW, 291), (MANY, 87_240)):
        root = tmp_path / str(images)
        assert coco_listing.write_data_set(root, images) == annotations
        photos, _, _, memory_mib[images] = coco_listing.measure(root)
        assert photos == images
    per_image = (memory_mib[MANY] - memory_mib[FEW]) / (MANY - FEW)
    assert memory_mib[FEW] + per_image * coco_listing.IMAGES < coco_listing.MOST_MEMORY_MIB
