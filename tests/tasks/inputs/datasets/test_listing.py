"""Behaviour shared by all formats: counts, empty photos, missing folders, failures of the store."""

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from clipes.tasks.inputs.datasets.listing import check_split, read_dataset
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import ConfigError, DatasetError, ErrorKind, TransientError


class FaultyFileSystem(MemoryFileSystem):
    """A store that denies access to folders named secret and hangs up on those named flaky."""

    protocol = "faulty"
    store = {}  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("faulty://", "memory://"))

    def ls(self, path, detail=True, **kwargs):
        if path.endswith("secret"):
            raise PermissionError("Access Denied")
        if path.endswith("flaky"):
            raise ConnectionResetError("the store hung up")
        return super().ls(path, detail=detail, **kwargs)


@pytest.fixture
def faulty():
    fsspec.register_implementation("faulty", FaultyFileSystem, clobber=True)
    FaultyFileSystem.store.clear()
    return fsspec.filesystem("faulty")


def read(split, vocabulary, **settings):
    return read_dataset(DatasetConfig(format="list", split=split, **settings), vocabulary)


def test_photos_without_objects_are_kept_or_rejected_as_configured(folder, animals):
    folder.write({"list.txt": "a.jpg\nb.jpg dog\ngone.jpg", "a.jpg": "", "b.jpg": ""})

    kept = read(f"{folder.uri}/list.txt", animals, empty="background")
    strict = read(f"{folder.uri}/list.txt", animals, empty="reject")

    assert [photo.class_ids for photo in kept.photos] == [(), (1,)]
    assert [photo.image_id for photo in strict.photos] == ["b"]
    first, second = strict.rejects
    assert (first.image_id, first.uri, first.stage) == ("a", f"{folder.uri}/a.jpg", "manifest")
    assert (first.kind, first.reason) == (ErrorKind.NO_OBJECTS, "the photo has no labels; dataset.empty is reject")
    assert second.kind == ErrorKind.MISSING


def test_photos_without_labels_can_be_left_out_and_are_counted(folder, animals):
    folder.write({"list.txt": "a.jpg\nb.jpg dog\nc.jpg\ngone.jpg cat", "a.jpg": "", "b.jpg": "", "c.jpg": ""})

    listing = read(f"{folder.uri}/list.txt", animals, empty="leave_out")

    assert [photo.image_id for photo in listing.photos] == ["b"]
    assert [reject.kind for reject in listing.rejects] == [ErrorKind.MISSING]
    assert (listing.left_out, listing.notes) == (2, ("2 photos without labels are left out (the first is a)",))
    folder.write({"list.txt": "a.jpg\nc.jpg"})
    with pytest.raises(DatasetError, match=r"none of the 2 photos .+ has labels, and photos without labels"):
        read(f"{folder.uri}/list.txt", animals, empty="leave_out")


def test_photos_and_rejects_add_up_to_the_lines_of_the_list(folder, animals):
    lines = [f"{number % 40}.jpg {number % 40 % 6}" for number in range(100)]
    folder.write({"list.txt": "\n".join(lines), **{f"{number}.jpg": "" for number in range(30)}})

    listing = read(f"{folder.uri}/list.txt", animals)

    assert len(listing.photos) + len(listing.rejects) == 100
    # photos 0 to 29 exist, and 20 of them have labels that are classes (1 to 4)
    assert [photo.image_id for photo in listing.photos] == [str(n) for n in range(30) if 1 <= n % 6 <= 4]
    assert listing.merged == 0
    assert [reject.kind for reject in listing.rejects].count(ErrorKind.DUPLICATE) == 60


def test_a_root_in_which_no_photo_is_found_must_exist(folder, animals):
    folder.write({"list.txt": "a.jpg dog", "empty/readme": ""})

    with pytest.raises(
        DatasetError, match=r"dataset.root: no folder .*/none; give the path or URI of an existing folder"
    ):
        read(f"{folder.uri}/list.txt", animals, root=f"{folder.uri}/none")
    assert len(read(f"{folder.uri}/list.txt", animals, root=f"{folder.uri}/empty").rejects) == 1


def test_a_configured_truth_folder_must_exist(folder, animals):
    folder.write({"list.txt": "a.jpg dog", "a.jpg": "", "masks/b.png": ""})

    with pytest.raises(
        DatasetError, match=r"dataset.truth: no folder .*/none; give the path or URI of an existing folder"
    ):
        read(f"{folder.uri}/list.txt", animals, truth=f"{folder.uri}/none")
    assert read(f"{folder.uri}/list.txt", animals, truth=f"{folder.uri}/masks").photos[0].truth_uri is None


@pytest.mark.parametrize(
    ("layout", "name", "message"),
    [
        ("list", "none.csv", "dataset.split: no list file at .*/none.csv"),
        ("coco", "val", "dataset.split: no file .*/annotations/instances_val.json"),
        ("voc", "val", "dataset.split: no split file at .*/ImageSets/Segmentation/val.txt"),
    ],
)
def test_a_missing_list_is_found_without_reading_the_data_set(folder, layout, name, message):
    split = f"{folder.uri}/{name}" if layout == "list" else name
    with pytest.raises(DatasetError, match=message):
        check_split(DatasetConfig(format=layout, root=folder.uri, split=split))
    broken = dict.fromkeys(["none.csv", "annotations/instances_val.json", "ImageSets/Main/val.txt"], "not read")
    folder.write(broken)
    check_split(DatasetConfig(format=layout, root=folder.uri, split=split))


def test_generated_scenes_need_no_list():
    check_split(DatasetConfig(format="scenes"))


@pytest.mark.parametrize("layout", ["voc", "coco"])
def test_formats_with_a_layout_need_a_root(animals, layout):
    with pytest.raises(ConfigError, match=f"dataset.root: must be set for format {layout}; give the data set's folder"):
        read_dataset(DatasetConfig(format=layout), animals)


def test_failures_of_the_store_are_not_reported_as_missing_photos(faulty, animals):
    faulty.pipe({"/d/list.txt": b"secret/a.jpg dog", "/d/flaky.txt": b"flaky/a.jpg dog"})

    with pytest.raises(
        DatasetError, match=r"faulty://d/secret/: no permission \(Access Denied\); check its permissions or the cred"
    ):
        read("faulty://d/list.txt", animals)
    with pytest.raises(TransientError, match="the store hung up"):
        read("faulty://d/flaky.txt", animals)


def test_photos_without_truth_are_counted_in_the_log(local, animals, caplog):
    local.write({"list.txt": "a dog\nb dog\nc dog", "a": "", "b": "", "c": "", "masks/b.png": ""})
    with caplog.at_level("INFO"):
        read(f"{local.uri}/list.txt", animals, truth=f"{local.uri}/masks")
    assert "2 of 3 photos have no true mask: they are not scored" in caplog.text
