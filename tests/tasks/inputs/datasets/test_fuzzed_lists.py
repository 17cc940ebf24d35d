"""Every list, annotation and vocabulary leads to photos and rejects, or to an error that names the file."""

import csv
import io
import json
from pathlib import Path
from random import Random

import pyarrow.parquet
import pytest
from support import fuzzed_files
from support.fuzzed_files import DEAD, NAMES, PHOTOS

from clipes.tasks.inputs.datasets.listing import Listing, read_dataset
from clipes.tasks.inputs.vocabularies import load_vocabulary
from clipes_core.config.dataset import DatasetConfig
from clipes_core.errors import ClipesError, ConfigError, DatasetError, TransientError
from clipes_core.vocabulary import ClassEntry, Vocabulary

CASES, SLOW_CASES = 100, 2000  # per kind of file
VOCABULARY = Vocabulary(classes=tuple(ClassEntry(name=name) for name in NAMES))


def lines_of_text(content: bytes) -> int:
    """Return the number of lines that are not blank."""
    text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    return sum(bool(line.strip()) for line in text.split("\n"))


def lines_of_csv(content: bytes) -> int:
    """Return the number of lines after the header."""
    _, *rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    return sum(bool(row) for row in rows)


def lines_of_parquet(content: bytes) -> int:
    """Return the number of rows."""
    return pyarrow.parquet.ParquetFile(io.BytesIO(content)).metadata.num_rows


def lines_of_coco(content: bytes) -> int:
    """Return the number of images."""
    return len(json.loads(content.decode("utf-8-sig"))["images"])


KINDS = {
    "list.csv": ("list", fuzzed_files.csv_list, lines_of_csv),
    "list.txt": ("list", fuzzed_files.text_list, lines_of_text),
    "list.parquet": ("list", fuzzed_files.parquet_list, lines_of_parquet),
    "own.json": ("coco", fuzzed_files.coco_file, lines_of_coco),
    "own.txt": ("coco", fuzzed_files.coco_list, lines_of_text),
    "split.txt": ("voc", fuzzed_files.voc_split, lines_of_text),
}


@pytest.fixture
def root(tmp_path) -> Path:
    """Return the folder of a data set with photos and one annotation."""
    for name in (*PHOTOS, "JPEGImages/a.jpg", "JPEGImages/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text("<annotation><object><name>dog</name></object></annotation>")
    return tmp_path


def outcome(root: Path, name: str, kind: str) -> Listing | ClipesError:
    """Read a list; any error that is not a ClipesError fails the test."""
    try:
        return read_dataset(DatasetConfig(format=kind, root=str(root), split=str(root / name)), VOCABULARY)
    except (DatasetError, TransientError) as error:
        return error


def check(read: Listing | ClipesError, name: str, lines: int | None) -> None:
    """Check that an outcome accounts for all lines, or is an error that names the file."""
    if isinstance(read, ClipesError):
        assert name in str(read) or DEAD in str(read)
        return
    assert len(read.photos) + len(read.rejects) + read.merged == lines
    assert len({photo.image_id for photo in read.photos}) == len(read.photos)
    for reject in read.rejects:
        assert reject.image_id
        assert reject.reason
        assert len(reject.reason.splitlines()) == 1
        "".join((reject.image_id, reject.uri, reject.reason)).encode()


def check_case(root: Path, name: str, seed: int) -> bool:
    """Check one changed list, and return whether it could be read."""
    kind, make, lines_of = KINDS[name]
    content = make(Random(f"{name} {seed}"))
    (root / name).write_bytes(content)
    read = outcome(root, name, kind)
    check(read, name, None if isinstance(read, ClipesError) else lines_of(content))
    return isinstance(read, Listing)


@pytest.mark.parametrize("name", KINDS)
def test_a_changed_list_is_accounted_for_or_refused(root, name):
    readable = [check_case(root, name, seed) for seed in range(CASES)]
    assert 0.1 * CASES < sum(readable) < CASES


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_many_changed_lists_are_accounted_for_or_refused(root, name):
    for seed in range(CASES, SLOW_CASES):
        check_case(root, name, seed)


def check_annotations(root: Path, seeds: range) -> None:
    """Check changed annotations, all in one split."""
    names = [f"x{seed}" for seed in seeds]
    for name, seed in zip(names, seeds, strict=True):
        (root / "JPEGImages" / f"{name}.jpg").touch()
        (root / "Annotations" / f"{name}.xml").write_bytes(fuzzed_files.voc_annotation(Random(f"xml {seed}")))
    (root / "split.txt").write_text("\n".join(("a", *names)))
    read = outcome(root, "split.txt", "voc")
    check(read, "split.txt", 1 + len(names))
    assert isinstance(read, Listing)
    assert read.photos[0].class_ids == (1,)
    assert len(read.rejects) > len(names) / 4


def test_a_changed_annotation_costs_no_other_photo(root):
    check_annotations(root, range(CASES))


@pytest.mark.slow
def test_many_changed_annotations_cost_no_other_photo(root):
    check_annotations(root, range(CASES, SLOW_CASES))


def check_vocabulary(folder: Path, seed: int) -> bool:
    """Check one changed vocabulary, and return whether it could be read."""
    path = folder / "own.yaml"
    path.write_bytes(fuzzed_files.vocabulary_file(Random(f"yaml {seed}")))
    try:
        return isinstance(load_vocabulary(str(path)), Vocabulary)
    except ConfigError as error:
        message = str(error)
    assert "own.yaml" in message
    return False


def test_a_changed_vocabulary_is_read_or_refused(tmp_path):
    readable = [check_vocabulary(tmp_path, seed) for seed in range(CASES)]
    assert 5 < sum(readable) < CASES


@pytest.mark.slow
def test_many_changed_vocabularies_are_read_or_refused(tmp_path):
    for seed in range(CASES, SLOW_CASES):
        check_vocabulary(tmp_path, seed)
