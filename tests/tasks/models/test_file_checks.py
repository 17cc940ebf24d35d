"""Weights files that are damaged at random, or forged so that they need much memory or run a program."""

import io
import json
import pickle
import random
import resource
import zipfile
from pathlib import Path

import pytest
import torch
from support.damaged_weights import DAMAGES, KINDS, PROGRAM, write_weights

from clipes.tasks.models.file_checks import MOST_DESCRIPTION_BYTES, MOST_GROWTH, report_damage
from clipes.tasks.models.state_dicts import read_state_dict
from clipes_core.errors import TransientError, WeightsError

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
IN_PLACE = 5  # the first kinds of damage leave the checksums in a zip file as they were
BOMB_MIB = 200
MOST_MIB = 64  # permitted growth of this process while it reads hundreds of damaged files


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """Return the folder in which the test runs, so that a program of a forged file would create a file in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_damaged(folder: Path, kind: str, seeds: range) -> int:
    """Read damaged files of a kind. Check each result, and return the number of files that were refused."""
    tensors = write_weights(folder / f"whole.{kind}", kind)
    whole, refused = (folder / f"whole.{kind}").read_bytes(), 0
    for seed in seeds:
        rng, damage, path = random.Random(seed), DAMAGES[seed % len(DAMAGES)], folder / f"{seed}.{kind}"
        path.write_bytes(damage(whole, rng))
        found = tensors_or_message(path)
        if isinstance(found, str):
            assert found.startswith(f"{path}: expected "), seed
            assert found.isprintable(), seed
            refused += 1
        else:
            assert sum(tensor.clone().nbytes for tensor in found.values()) <= MOST_GROWTH * path.stat().st_size, seed
            if kind in ("zip", "torchscript") and seed % len(DAMAGES) < IN_PLACE:
                assert same(found, tensors), seed
        path.unlink()
    return refused


def tensors_or_message(path: Path) -> dict[str, torch.Tensor] | str:
    try:
        return read_state_dict(path).tensors
    except WeightsError as error:
        return str(error)


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def check_damaged_files(here: Path, kind: str, count: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = read_damaged(here, kind, range(count))
    assert count / 2 < refused < count
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MIB << 10
    assert not (here / "ran").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_gives_the_same_weights_or_the_error_that_names_it(here, kind):
    check_damaged_files(here, kind, 90)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_give_the_same_weights_or_the_error_that_names_them(here, kind):
    check_damaged_files(here, kind, 9000)


def test_the_inserted_program_runs_in_a_plain_unpickler(here):
    """Check that the test above can fail."""
    assert pickle.loads(b"\x80\x02" + PROGRAM + b"N.") is None
    assert (here / "ran").exists()


def rezipped(path: Path, compression: int = zipfile.ZIP_STORED, **changed: bytes) -> None:
    """Write an archive again, with other contents of entries, each given by the last part of its name."""
    target = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            with new.open(name, "w") as entry:
                entry.write(changed.get(Path(name).name, old.read(name)))
                for _ in range(BOMB_MIB if Path(name).name in changed and compression else 0):
                    entry.write(bytes(1 << 20))
    path.write_bytes(target.getvalue())


@pytest.mark.parametrize("kind", ["zip", "torchscript"])
def test_a_zip_bomb_is_refused_before_it_is_read(tmp_path, kind):
    path = tmp_path / "bomb.pt"
    write_weights(path, kind)
    rezipped(path, zipfile.ZIP_DEFLATED, **{"0": b""})
    assert path.stat().st_size < 1 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WeightsError, match=r"bomb\.pt: expected (weights that need about|entries as torch)"):
        read_state_dict(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MIB << 10


@pytest.mark.parametrize("kind", ["zip", "torchscript"])
def test_entries_that_overlap_are_refused(tmp_path, kind):
    """Let many names in the directory of an archive refer to the same large entry."""
    path = tmp_path / "overlap.pt"
    write_weights(path, kind)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("whole/data/large", bytes(1 << 20))
        large = archive.getinfo("whole/data/large")
        for number in range(50):
            copy = zipfile.ZipInfo(f"whole/data/copy{number}")
            copy.header_offset, copy.CRC = large.header_offset, large.CRC
            copy.file_size = copy.compress_size = large.file_size
            archive.filelist.append(copy)
    with pytest.raises(WeightsError, match=r"overlap\.pt: expected weights that need about as much memory"):
        read_state_dict(path)


@pytest.mark.parametrize(
    "change",
    [
        {"external_attr": 0x10},
        {"compress_size": 0, "CRC": 0},
        {"compress_type": zipfile.ZIP_DEFLATED},
        {"flag_bits": 1},
        {"filename": "whole/DATA.PKL"},
    ],
    ids=str,
)
def test_an_entry_that_torch_would_read_differently_is_refused(tmp_path, change):
    path = tmp_path / "odd.pt"
    write_weights(path, "zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("new", b"")  # so that the directory is written again
        entry = next(each for each in archive.infolist() if each.filename.endswith("data/0"))
        for name, value in change.items():
            setattr(entry, name, value)
    with pytest.raises(WeightsError, match=r"odd\.pt: expected "):
        read_state_dict(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_one_number_for_a_large_tensor_is_refused(tmp_path, zipped):
    path = tmp_path / "expanded.pt"
    torch.save({"a": torch.zeros(1).expand(1 << 20, 1 << 10)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"expanded\.pt: expected weights that need about as much memory"):
        read_state_dict(path)


def test_a_large_header_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "header.safetensors"
    with path.open("wb") as file:
        file.write((MOST_DESCRIPTION_BYTES + 1).to_bytes(8, "little") + b"{")
        file.truncate(MOST_DESCRIPTION_BYTES + 100)
    with pytest.raises(WeightsError, match=r"header\.safetensors: expected a description of tensors of at most"):
        read_state_dict(path)


@pytest.mark.parametrize("kind", ["zip", "torchscript"])
def test_a_large_pickle_is_refused_before_it_is_read(tmp_path, kind):
    path = tmp_path / "pickle.pt"
    write_weights(path, kind)
    rezipped(path, **{"data.pkl": b"\x80\x02" + b"]" * MOST_DESCRIPTION_BYTES + b"."})
    with pytest.raises(WeightsError, match=r"pickle\.pt: expected a description of tensors of at most"):
        read_state_dict(path)


def test_a_large_memo_of_a_pickle_is_refused(tmp_path):
    path = tmp_path / "memo.pt"
    write_weights(path, "torchscript")
    rezipped(path, **{"data.pkl": b"\x80\x02Nr\xff\xff\xff\x7f."})
    with pytest.raises(WeightsError, match=r"memo\.pt: .*damaged file \(its memo has the index 2147483647\)"):
        read_state_dict(path)


def test_a_flipped_bit_in_a_checkpoint_is_reported(tmp_path):
    path = tmp_path / "flipped.pt"
    content = torch.arange(6.0).numpy().tobytes()
    torch.save({"a": torch.arange(6.0)}, path)
    path.write_bytes(path.read_bytes().replace(content, content[:-1] + b"\x41"))
    with pytest.raises(WeightsError, match=r"flipped\.pt: .*Bad CRC-32"):
        read_state_dict(path)


@pytest.mark.parametrize("error", [KeyError("a\x1b[2J\nb"), RecursionError(), MemoryError(), SystemError("x" * 999)])
def test_any_error_of_a_reader_becomes_the_error_that_names_the_file(tmp_path, error):
    found = pytest.raises(WeightsError, match=r"a\.pt: expected complete weights, found .*; download it again$")
    with found as caught, report_damage(tmp_path / "a.pt"):
        raise error
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600
    with pytest.raises(TransientError), report_damage(tmp_path / "a.pt"):
        raise TransientError("the server does not answer")


def test_a_header_with_other_types_is_an_error(tmp_path):
    for header in ([], {"a": 1}, {"a": {"dtype": "F99", "shape": [], "data_offsets": [0, 0]}}, "x" * 99):
        text = json.dumps(header).encode()
        (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
        with pytest.raises(WeightsError, match=r"a\.safetensors: expected complete weights, found a damaged file"):
            read_state_dict(tmp_path / "a.safetensors")
