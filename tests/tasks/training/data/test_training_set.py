import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.damage import flip_in_page
from support.masked_photos import VOCABULARY, confidence_of, ids_of, mask_row, noise

from clipes.tasks.runs.record.recorder import record_run
from clipes.tasks.stages.masks import MasksRow
from clipes.tasks.stages.registry import STAGES
from clipes.tasks.storage.parquet.writing import ROWS_PER_GROUP
from clipes.tasks.training.data.training_set import TrainingSet
from clipes_core.errors import ArtifactError, BrokenArtifactError, ReplacedError, StageError, UsageError


def tiny_mask(number):
    return np.full((2, 3), number % 3, np.uint8), np.full((2, 3), number, np.uint8)


def test_each_photo_has_its_own_mask(seven, files):
    found = pickle.loads(pickle.dumps(seven.training_set()))

    assert (len(found), found.left_out) == (7, 0)
    for index, photo in enumerate(seven.photos()):
        place = found.photo(index)
        assert (place.image_id, place.uri, place.fingerprint) == (photo.image_id, photo.uri, photo.fingerprint)
        mask, read = found.mask(index, files)
        assert (mask.ids.dtype, mask.confidence.dtype) == (np.uint8, np.uint8)
        assert (mask.ids == ids_of(noise(index))).all()
        assert (mask.confidence == confidence_of(noise(index))).all()
        size = Path(found.artifacts[index % 2].uri).stat().st_size
        assert read.source == "local"
        assert 0 < read.size_bytes < size


def test_photos_are_sorted_by_id_for_any_order_of_photos_and_rows(masked, files):
    for name, shard in (("c", 1), ("ä/b", 0), ("a", 1), ("B", 0)):
        masked.add(name, shard=shard)
    found = masked.training_set()
    assert [found.photo(index).image_id for index in range(4)] == ["B", "a", "c", "ä/b"]
    assert (found.mask(1, files)[0].ids == ids_of(noise(2))).all()
    assert (found.mask(3, files)[0].ids == ids_of(noise(1))).all()


def test_rows_are_found_in_every_row_group(masked, files):
    count = 2 * ROWS_PER_GROUP + 2
    for number in range(count):
        mask = ids_of(noise(number, LARGE)), np.full(LARGE, number, np.uint8)
        masked.add(f"{number:03d}", data=b"", row=mask_row(f"{number:03d}", *mask))
    found = masked.training_set()
    for number in (0, ROWS_PER_GROUP - 1, ROWS_PER_GROUP, 2 * ROWS_PER_GROUP, count - 1):
        assert (found.mask(number, files)[0].confidence == number).all()


def test_photos_without_a_mask_are_excluded_and_counted(masked):
    masked.add("a")
    masked.add("b", row=MasksRow(image_id="b", class_ids=(1,), status="error", error="no CAMs", error_kind="upstream"))
    masked.add("c", shard=1)
    masked.shards[1].clear()
    found = masked.training_set()
    assert [found.photo(index).image_id for index in range(len(found))] == ["a"]
    assert found.left_out == 2


def test_a_training_set_without_photos_is_empty(masked):
    found = TrainingSet.of_manifest(masked.manifest([]), [], VOCABULARY, "ignore")
    assert (len(found), found.left_out) == (0, 0)


def test_the_files_of_a_run_locate_its_masks(run_with_masks, files):
    found = TrainingSet.of_run(run_with_masks.store.uri, "tiny")

    assert [found.photo(index).image_id for index in range(2)] == ["a", "d"]
    listed = {photo.image_id: photo for photos in run_with_masks.inputs.shards.values() for photo in photos}
    assert found.photo(1).uri == listed["d"].uri
    assert found.photo(1).fingerprint == listed["d"].fingerprint
    assert (found.exif, found.vocabulary, found.left_out) == ("apply", run_with_masks.inputs.vocabulary, 0)
    assert (found.mask(1, files)[0].ids == ids_of(noise(1, (48, 64)))).all()


def test_a_missing_run_and_a_run_without_masks_are_refused(prepared):
    run = prepared()
    with pytest.raises(UsageError, match=r"no run tiny in .+, which does not exist"):
        TrainingSet.of_run(run.store.uri, "tiny")
    with record_run(run):
        pass
    with pytest.raises(StageError, match="run tiny has no masks yet: continue this run up to the stage masks"):
        TrainingSet.of_run(run.store.uri, "tiny")


def test_the_error_for_a_missing_artifact_names_it(seven, files):
    found = seven.training_set()
    Path(found.artifacts[1].uri).unlink()
    with pytest.raises(BrokenArtifactError, match=r"masks/.+/001-.+\.parquet is missing: run again"):
        found.mask(1, files)
    with pytest.raises(BrokenArtifactError, match=r"masks/.+/001-.+\.parquet is missing: run again"):
        TrainingSet.of_manifest(
            seven.manifest(seven.photos()), [each.uri for each in found.artifacts], VOCABULARY, "ignore"
        )


def test_an_artifact_without_masks_is_broken(seven):
    uris, path = seven.artifacts(), Path(seven.artifacts()[0])
    pq.write_table(pq.read_table(path).drop_columns(["confidence_png"]).replace_schema_metadata(None), path)
    with pytest.raises(BrokenArtifactError, match=r"lacks the columns \['confidence_png'\]"):
        TrainingSet.of_manifest(seven.manifest(seven.photos()), uris, VOCABULARY, "ignore")


def test_a_broken_manifest_is_not_taken_for_an_artifact_that_the_run_can_rebuild(seven):
    files = seven.manifest(seven.photos())
    path = Path(files.uri("manifest.parquet"))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ArtifactError, match=r"manifest\.parquet cannot be read .+: run again") as caught:
        TrainingSet.of_manifest(files, seven.artifacts(), VOCABULARY, "ignore")
    assert not isinstance(caught.value, BrokenArtifactError)


def test_the_error_for_an_artifact_with_damaged_pages_names_it(seven, files):
    found = seven.training_set()
    flip_in_page(Path(found.artifacts[0].uri), 0, STAGES["masks"].schema.get_field_index("mask_png"))
    with pytest.raises(BrokenArtifactError, match=r"/000-.+ cannot be read \(it fails its checksum\)"):
        found.mask(0, files)
    assert (found.mask(1, files)[0].ids == ids_of(noise(1))).all()


def test_a_mask_of_another_photo_is_never_returned(seven, files):
    found = seven.training_set()
    seven.shards[0][0] = replace(seven.shards[0][0], image_id="q0")
    seven.artifact(0)
    with pytest.raises(ReplacedError, match=r"/000-.+ was replaced by another run"):
        found.mask(0, files)
    with pytest.raises(BrokenArtifactError, match=r"/000-.+ does not hold photo p0 in the expected row"):
        replace(found, artifacts=seven.training_set().artifacts).mask(0, files)


LARGE = 64, 96  # 64 masks of this size fill several blocks of a Parquet file


def test_only_one_row_group_of_a_remote_artifact_is_fetched(masked, files, s3_folder):
    masked.uri = s3_folder
    for number in range(ROWS_PER_GROUP + 1):
        mask = ids_of(noise(number, LARGE)), np.full(LARGE, number, np.uint8)
        masked.add(f"{number:03d}", data=b"", row=mask_row(f"{number:03d}", *mask))
    found = masked.training_set()

    reads = [found.mask(number, files)[1] for number in (ROWS_PER_GROUP, ROWS_PER_GROUP - 1, 0)]

    assert [read.source for read in reads] == ["fetched", "fetched", "hit"]
    assert reads[0].size_bytes < reads[1].size_bytes
    assert (found.mask(7, files)[0].confidence == 7).all()


def test_a_damaged_cached_copy_is_fetched_again(masked, files, s3_folder):
    masked.uri = s3_folder
    masked.add("a")
    found = masked.training_set()
    assert found.mask(0, files)[1].source == "fetched"
    assert found.mask(0, files)[1].source == "hit"
    (copy,) = files.folder.rglob("*.val")
    copy.write_bytes(copy.read_bytes()[:-10])

    mask, read = found.mask(0, files)

    assert read.source == "fetched"
    assert (mask.ids == ids_of(noise(0))).all()
    assert found.mask(0, files)[1].source == "hit"
