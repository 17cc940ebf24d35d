from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def coco_listing(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import coco_listing

    return coco_listing


def test_all_photos_of_the_generated_file_are_listed(coco_listing, tmp_path):
    assert coco_listing.write_data_set(tmp_path, 40) == 291
    photos, seconds, cpu_seconds, memory_mib = coco_listing.measure(str(tmp_path))
    assert photos == 40
    assert min(seconds, cpu_seconds, memory_mib) > 0
