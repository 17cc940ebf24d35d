import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.plain_reports import plain_facts, write_photo
from support.plain_runs import LengthRow, Lengths, photo, write_artifact

from clipes.tasks.plan.sharding import shard_of
from clipes.tasks.report.gallery.cards import Card, photo_or_canvas, read_rows, styles_of, truth_or_note
from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.storage.listing import fingerprint_of_stat
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.errors import ErrorKind, PhotoError

TRUTH = np.array([[0, 0, 0, 1, 1, 1]] * 4, np.uint8)


@pytest.fixture
def facts(tmp_path):
    return plain_facts(tmp_path / "store")


def test_only_shards_that_contain_a_wanted_photo_are_read(tmp_path):
    names = [f"p{number}" for number in range(6)]
    by_shard = {shard: [name for name in names if shard_of(name, 2) == shard] for shard in (0, 1)}
    records = [
        write_artifact(str(tmp_path), Lengths(name="cams"), [LengthRow(image_id=name) for name in found], shard)
        for shard, found in by_shard.items()
    ]
    Path(records[1].uri).write_bytes(b"damaged")
    facts = plain_facts(tmp_path, *records, settings={"execution": {"shards": 2}})
    artifacts = RunArtifacts(RunFiles(str(tmp_path), "plain"), facts.status.shards)
    facts = replace(facts, artifacts=artifacts)  # without the shards that plain_facts has already read
    wanted, other = by_shard[0][0], by_shard[1][0]

    assert read_rows(facts, "cams", ("image_id", "status"), [wanted]).keys() == {wanted}
    assert artifacts.unreadable == {}
    assert read_rows(facts, "cams", ("image_id", "status"), [wanted, other]).keys() == {wanted}
    assert artifacts.unreadable.keys() == {records[1].uri}


def test_rows_without_a_result_are_left_out(tmp_path):
    rows = [LengthRow(image_id="a", length=1), LengthRow.failed("b", PhotoError(ErrorKind.MISSING, "gone"))]
    facts = plain_facts(tmp_path, write_artifact(str(tmp_path), Lengths(name="masks"), rows))
    found = read_rows(facts, "masks", ("image_id", "status", "length"), ["a", "b", "c"])
    assert found == {"a": {"image_id": "a", "status": "ok", "length": 1}}


def test_a_photo_that_cannot_be_read_is_a_grey_canvas_with_the_reason(facts, tmp_path):
    image, notes = photo_or_canvas(write_photo(tmp_path, "a", ()), (8, 12), facts, 320)
    assert (image.shape, set(image.ravel().tolist()), notes) == ((4, 6, 3), {90}, ())
    image, notes = photo_or_canvas(photo("gone"), (8, 12), facts, 6)
    assert (image.shape, set(image.ravel().tolist())) == ((4, 6, 3), {128})
    assert notes == ("the photo cannot be shown: /photos/gone.jpg does not exist",)


def test_a_photo_has_a_true_mask_or_a_reason_for_its_absence(tmp_path):
    good = write_photo(tmp_path, "a", (1,), TRUTH)
    found, notes = truth_or_note(good)
    assert (found.tolist(), notes) == (TRUTH.tolist(), ())
    assert truth_or_note(write_photo(tmp_path, "b", (1,))) == (None, ())
    Path(good.truth_uri).unlink()
    assert truth_or_note(good) == (None, (f"the true mask cannot be shown: {good.truth_uri} does not exist",))


def test_a_photo_or_a_true_mask_that_has_changed_since_the_run_is_not_shown(facts, tmp_path):
    written = write_photo(tmp_path, "a", (1,), TRUTH)
    uris = {"fingerprint": written.uri, "truth_fingerprint": written.truth_uri}
    listed = replace(written, **{name: fingerprint_of_stat(Path(uri).stat()) for name, uri in uris.items()})
    assert photo_or_canvas(listed, (4, 6), facts, 320)[1] == truth_or_note(listed)[1] == ()
    for uri in uris.values():
        os.utime(uri, ns=(1, 1))

    image, notes = photo_or_canvas(listed, (4, 6), facts, 320)

    assert set(image.ravel().tolist()) == {128}
    assert notes == (f"the photo cannot be shown: {listed.uri} has changed since the run listed it: run again",)
    reason = f"the true mask cannot be shown: {listed.truth_uri} has changed since the run listed it: run again"
    assert truth_or_note(listed) == (None, (reason,))


def test_labels_and_the_classes_of_all_masks_have_a_look():
    assert set(styles_of(photo("a", (3,)), TRUTH, None, np.array([[0, 255, 9]], np.uint8))) == {1, 3, 9}


@pytest.mark.parametrize(
    ("uri", "link"),
    [
        ("/photos/a #1?.jpg", "file:///photos/a%20%231%3F.jpg"),
        ("https://example.org/a.jpg", "https://example.org/a.jpg"),
        ("s3://bucket/a.jpg", None),
        ("javascript:alert(1)", None),
    ],
)
def test_a_card_links_to_photos_that_a_browser_can_open(uri, link):
    assert Card("a", (), uri, {}, {}, (), ()).link == link
