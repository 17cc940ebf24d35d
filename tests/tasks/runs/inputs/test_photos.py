from itertools import pairwise

import pytest
from support.prepared import prepared

from clipes.tasks.runs.inputs.photos import list_photos
from clipes_core.errors import DatasetError


def test_photos_that_cannot_be_listed_are_rejects(six):
    for name in "ef":
        (six.folder / f"{name}.png").unlink()

    run = prepared(six, execution={"max_failure_rate": 0})

    assert run.photos == 4
    assert [(reject.image_id, reject.stage, reject.kind) for reject in run.rejects] == [
        ("e", "manifest", "missing"),
        ("f", "manifest", "missing"),
    ]


def test_photos_without_any_label_are_refused(six):
    for name in "abcdef":
        six.label(name, "")
    with pytest.raises(DatasetError) as error:
        prepared(six)
    assert str(error.value) == (
        "none of the 6 photos has a label, so every mask would be all background: correct dataset.format, "
        "dataset.split or the labels"
    )
    six.label("a", "giraffe")
    with pytest.raises(DatasetError, match="or the labels; reason for the first of 1 rejects: unknown class"):
        prepared(six)


def test_a_sample_contains_every_smaller_sample_and_changes_no_key(six):
    samples = [
        {photo.image_id for photo in list_photos(six.config(dataset={"sample": count})).photos} for count in range(1, 8)
    ]
    assert [len(sample) for sample in samples] == [1, 2, 3, 4, 5, 6, 6]
    assert all(smaller <= larger for smaller, larger in pairwise(samples))
    assert prepared(six, dataset={"sample": 3}).keys == prepared(six).keys


def test_a_sample_has_its_share_of_the_rejects(tiny):
    for number in range(40):
        tiny.add(f"p{number}", "cat" if number % 2 else "no_such_class")
    listing = list_photos(tiny.config(dataset={"sample": 20}))
    assert len(listing.photos) + len(listing.rejects) == 20
    assert listing.photos
    assert listing.rejects
