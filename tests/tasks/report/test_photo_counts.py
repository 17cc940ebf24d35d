import pytest
from support.plain_runs import photo

from clipes.tasks.report.photo_counts import PhotoCounts, count_photos
from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.runs.record.contents import manifest_table
from clipes.tasks.storage.layout import EVALUATION_FILE, MANIFEST_FILE
from clipes.tasks.storage.run_files import RunFiles

PHOTOS = photo("a", (1, 2)), photo("b", (2,), truth=False), photo("c", ()), photo("d", (2,))


@pytest.fixture
def artifacts(tmp_path):
    files = RunFiles(str(tmp_path), "plain")
    files.write_table(MANIFEST_FILE, manifest_table({0: PHOTOS[:3], 1: PHOTOS[3:]}))
    return RunArtifacts(files, [])


def test_photos_are_counted_by_labels_and_truth(artifacts):
    found = count_photos(artifacts, MANIFEST_FILE, ())
    assert (found.photos, found.unlabelled, found.with_truth) == (4, 1, 3)
    assert found.by_class == {1: 1, 2: 3}
    assert found.by_class[7] == 0
    assert found.chosen == {}


def test_wanted_photos_are_returned_as_they_were_listed(artifacts):
    assert count_photos(artifacts, MANIFEST_FILE, {"b", "c", "z"}).chosen == {"b": PHOTOS[1], "c": PHOTOS[2]}


def test_a_missing_list_of_photos_counts_as_empty(artifacts):
    assert count_photos(artifacts, EVALUATION_FILE, {"b"}) == PhotoCounts(0, 0, 0, {}, {})
