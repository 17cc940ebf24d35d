import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.plain_reports import PALETTE, plain_facts, write_photo
from support.plain_runs import LengthRow, Lengths, photo, write_artifact
from support.report_pages import Element, picture

from clipes.tasks.plan.sharding import shard_of
from clipes.tasks.report.gallery.cards import ids_picture, photo_or_canvas, read_rows, truth_picture
from clipes.tasks.runs.artifacts import RunArtifacts
from clipes.tasks.storage.listing import fingerprint_of_stat
from clipes.tasks.storage.run_files import RunFiles
from clipes_core.errors import ErrorKind, PhotoError

GREY = np.full((4, 6, 3), 128, np.uint8)
TRUTH = np.array([[0, 0, 0, 1, 1, 1]] * 4, np.uint8)


@pytest.fixture
def facts(tmp_path):
    return plain_facts(tmp_path / "store")


def drawn(found):
    """Return the pixels of a picture in a card."""
    return np.asarray(picture(Element("img", {"src": found.uri}))).astype(int)


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
    image, notes = photo_or_canvas(write_photo(tmp_path, "a", ()), (8, 12), facts)
    assert (image.shape, set(image.ravel().tolist()), notes) == ((4, 6, 3), {90}, ())
    image, notes = photo_or_canvas(photo("gone"), (8, 12), facts)
    assert (image.shape, set(image.ravel().tolist())) == ((8, 12, 3), {128})
    assert notes == ("the photo cannot be shown: /photos/gone.jpg does not exist",)


def test_a_map_of_ids_is_drawn_over_the_photo_at_its_size(facts):
    photo, ids = np.full((32, 48, 3), 128, np.uint8), np.repeat(np.repeat(TRUTH, 2, 0), 2, 1)
    found = ids_picture("Mask", photo, ids, facts)
    pixels = drawn(found)
    assert (found.title, pixels.shape) == ("Mask", (32, 48, 3))
    left, right = pixels[16, 4], pixels[16, 43]
    assert np.abs(left - 128).max() < 10  # the background is not coloured
    assert np.abs(right - PALETTE[1]).sum() < np.abs(128 - PALETTE[1].astype(int)).sum() / 1.5


def test_a_photo_has_a_true_mask_or_a_reason_for_its_absence(facts, tmp_path):
    good = write_photo(tmp_path, "a", (1,), TRUTH)
    (found,), notes = truth_picture(good, GREY, facts)
    assert (found.title, notes) == ("Truth", ())
    assert truth_picture(write_photo(tmp_path, "b", (1,)), GREY, facts) == ((), ())
    Path(good.truth_uri).unlink()
    reason = f"the true mask cannot be shown: {good.truth_uri} does not exist"
    assert truth_picture(good, GREY, facts) == ((), (reason,))


def test_a_photo_or_a_true_mask_that_has_changed_since_the_run_is_not_shown(facts, tmp_path):
    written = write_photo(tmp_path, "a", (1,), TRUTH)
    uris = {"fingerprint": written.uri, "truth_fingerprint": written.truth_uri}
    listed = replace(written, **{name: fingerprint_of_stat(Path(uri).stat()) for name, uri in uris.items()})
    assert photo_or_canvas(listed, (4, 6), facts)[1] == truth_picture(listed, GREY, facts)[1] == ()
    for uri in uris.values():
        os.utime(uri, ns=(1, 1))

    image, notes = photo_or_canvas(listed, (4, 6), facts)

    assert set(image.ravel().tolist()) == {128}
    assert notes == (f"the photo cannot be shown: {listed.uri} has changed since the run listed it: run again",)
    reason = f"the true mask cannot be shown: {listed.truth_uri} has changed since the run listed it: run again"
    assert truth_picture(listed, GREY, facts) == ((), (reason,))
