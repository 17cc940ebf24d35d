from types import SimpleNamespace

import numpy as np
import pytest
import torch

from clipes.tasks.inputs.batches import BYTES_WAITING, PHOTOS_WAITING, Batches, compute_batch, compute_in_batches
from clipes.tasks.inputs.photos import LoadedPhoto, Photo
from clipes_core.config.dataset import DatasetConfig
from clipes_core.device import finish
from clipes_core.errors import ErrorKind, PhotoError
from clipes_core.views import PhotoViews


def loaded(size, name="a"):
    views = PhotoViews((size[1], size[0]), ())
    return Photo(name, f"/{name}.png", 1, "1", (3,)), LoadedPhoto(views, (size[1], size[0]), ())


def computed(batch, compute):
    """Return what `compute_batch` returns for a job that computes at once."""

    def job(part):
        yield
        return compute(part)

    return finish(compute_batch(batch, job))


def test_a_budget_of_one_token_gives_batches_of_one_photo():
    batches = Batches(1, 16)
    for name in "ab":
        assert [photo.image_id for photo, _ in batches.add(*loaded((500, 375), name))] == [name]
    assert list(batches.rest()) == []


def test_a_batch_holds_as_many_photos_as_fit_the_budget():
    batches = Batches(3 * 24 * 32, 16)  # three photos of 500 x 375: 24 x 32 patches each

    sizes = [len(batches.add(*loaded((500, 375))) or []) for _ in range(7)]

    assert sizes == [0, 0, 3, 0, 0, 3, 0]
    assert [len(batch) for batch in batches.rest()] == [1]


def test_a_budget_one_token_smaller_gives_one_photo_less():
    batches = Batches(3 * 24 * 32 - 1, 16)
    assert [len(batches.add(*loaded((500, 375))) or []) for _ in range(3)] == [0, 2, 0]


def test_a_batch_contains_photos_of_a_single_size():
    batches = Batches(2 * 24 * 32, 16)
    sizes = {"a": (500, 375), "b": (375, 500), "c": (500, 376), "d": (375, 500), "e": (500, 375)}

    full = [batches.add(*loaded(size, name)) for name, size in sizes.items()]

    assert full[:3] == [None, None, None]
    assert [[photo.image_id for photo, _ in batch] for batch in full[3:]] == [["b", "d"], ["a", "e"]]
    assert [[photo.image_id for photo, _ in batch] for batch in batches.rest()] == [["c"]]


def test_the_largest_batch_is_returned_once_too_many_photos_wait():
    batches = Batches(10**9, 16)
    sizes = [(32 + number, 32) for number in range(PHOTOS_WAITING - 2)]

    waiting = [batches.add(*loaded(size, str(size[0]))) for size in [*sizes, sizes[7]]]
    back = batches.add(*loaded(sizes[0], "last"))
    again = batches.add(*loaded((999, 32), "next"))

    assert waiting == [None] * (PHOTOS_WAITING - 1)
    assert [photo.image_id for photo, _ in back] == ["32", "last"]  # the first of two sizes with two photos
    assert again is None
    rest = [[photo.image_id for photo, _ in batch] for batch in batches.rest()]
    assert len(rest) == PHOTOS_WAITING - 2
    assert ["39", "39"] in rest


def test_few_photos_wait_if_they_have_large_views():
    batches, size_hw = Batches(10**9, 16), (375, 500)
    views = PhotoViews(size_hw, (np.broadcast_to(np.uint8(0), (BYTES_WAITING // 2000, 500, 3)),))
    photos = [(Photo(name, f"/{name}.png", 1, "1", (3,)), LoadedPhoto(views, size_hw, ())) for name in "ab"]
    assert [len(batches.add(*photo) or []) for photo in photos] == [0, 2]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("too much"), MemoryError("too much")])
def test_a_batch_that_does_not_fit_into_memory_is_computed_in_halves(error):
    sizes = []

    def compute(batch):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise error
        return [photo.image_id.upper() for photo, _ in batch]

    results = [(photo.image_id, result) for photo, _, result in computed([loaded((8, 8), n) for n in "abcde"], compute)]

    assert results == [(name, name.upper()) for name in "abcde"]
    assert sizes == [5, 2, 3, 1, 2]


def test_a_photo_that_does_not_fit_alone_is_an_out_of_memory_error():
    def compute(batch):
        if any(photo.image_id == "b" for photo, _ in batch):
            raise RuntimeError("DefaultCPUAllocator: not enough memory")
        return [photo.image_id for photo, _ in batch]

    first, second = [result for _, _, result in computed([loaded((8, 8), n) for n in "ab"], compute)]

    assert first == "a"
    assert isinstance(second, PhotoError)
    assert (second.kind, second.reason) == (ErrorKind.OUT_OF_MEMORY, "DefaultCPUAllocator: not enough memory")


def test_a_photo_without_a_result_costs_no_other_photo_of_its_batch():
    bad = PhotoError(ErrorKind.NOT_FINITE, "contains NaN")

    def compute(batch):
        if any(photo.image_id == "c" for photo, _ in batch):
            raise bad
        return [photo.image_id for photo, _ in batch]

    batch = [loaded((32, 32), name) for name in "abcde"]
    results = {photo.image_id: result for photo, _, result in computed(batch, compute)}
    error = results.pop("c")
    assert (error.kind, error.reason) == (bad.kind, bad.reason)
    assert results == {name: name for name in "abde"}


def test_other_errors_of_a_batch_are_raised():
    def compute(batch):
        raise RuntimeError("a shape does not fit")

    with pytest.raises(RuntimeError, match="a shape does not fit"):
        computed([loaded((8, 8))], compute)


def test_a_photo_that_does_not_fit_beside_others_is_computed_alone(monkeypatch):
    """Run the loop of a GPU worker on jobs that need more memory than there is while others run."""
    running = set()

    def compute(batch):
        (name,) = (photo.image_id for photo, _ in batch)
        running.add(name)
        yield
        try:
            if len(running) > 1 and name in "ace":
                raise MemoryError
            yield
        finally:
            running.discard(name)
        return [name.upper()]

    photos = [photo for photo, _ in (loaded((40, 30), name) for name in "abcde")]
    slot = SimpleNamespace(slot=SimpleNamespace(device="cuda:0"))
    monkeypatch.setattr("clipes.tasks.inputs.batches.current_worker", lambda: slot)
    monkeypatch.setattr("clipes.tasks.inputs.batches.token_budget", lambda device: 1)
    monkeypatch.setattr(
        "clipes.tasks.inputs.batches.load_photos",
        lambda photos, *_: ((photo, loaded((40, 30), photo.image_id)[1]) for photo in photos),
    )
    found = list(compute_in_batches(photos, DatasetConfig(root="/data"), 16, compute))
    assert sorted((photo.image_id, result) for photo, _, result in found) == [(name, name.upper()) for name in "abcde"]
