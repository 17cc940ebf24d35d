"""TorchScript archives saved by torch, and copies with forged bytes."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from clipes.tasks.models.torchscript import is_torchscript, read_torchscript
from clipes_core.errors import WeightsError

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:FutureWarning")


class Block(torch.nn.Module):
    """A module with half-precision weights, an integer buffer, a list, a flag and a child named by a number."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3).t())  # not contiguous
        self.register_buffer("input_resolution", torch.tensor(224))
        self.sizes = [2, 3]
        self.names = {"a": 1}
        self.blocks = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Conv2d(1, 2, 2))


def saved(tmp_path: Path) -> tuple[Path, Block]:
    block = Block().half()
    torch.jit.save(torch.jit.script(block), str(tmp_path / "block.pt"))
    return tmp_path / "block.pt", block


def rewritten(path: Path, **changed: bytes) -> Path:
    """Copy an archive without the entries that older torch did not write, and replace the entries in `changed`."""
    copy = path.with_name("rewritten.pt")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            stem = Path(name).name.removesuffix(".pkl")
            if "code" not in name and "byteorder" not in name:
                new.writestr(name, changed.get(stem, old.read(name)))
    return copy


def pickled_module(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read("block/data.pkl")


def test_only_tensors_are_read(tmp_path):
    path, block = saved(tmp_path)

    archive = read_torchscript(path)

    assert archive.tensors.keys() == block.state_dict().keys()
    for name, expected in block.state_dict().items():
        assert archive.tensors[name].dtype == expected.dtype
        assert torch.equal(archive.tensors[name], expected)
    assert {"Block", "Linear", "Sequential"} <= archive.classes


def test_archives_written_by_an_older_torch_on_a_gpu_are_read(tmp_path):
    path, block = saved(tmp_path)
    on_gpu = pickled_module(path).replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    assert b"cuda:0" in on_gpu

    tensors = read_torchscript(rewritten(path, data=on_gpu)).tensors

    assert tensors["proj"].device.type == "cpu"
    assert torch.equal(tensors["proj"], block.proj)


def test_an_empty_tensor_is_read(tmp_path):
    module = torch.nn.Module()
    module.register_buffer("empty", torch.zeros(0, 3))
    torch.jit.save(torch.jit.script(module), str(tmp_path / "empty.pt"))
    assert read_torchscript(tmp_path / "empty.pt").tensors["empty"].shape == (0, 3)


def test_archives_and_checkpoints_are_distinguished(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "checkpoint.pt")
    assert is_torchscript(saved(tmp_path)[0])
    assert not is_torchscript(tmp_path / "checkpoint.pt")


def test_a_truncated_zip_is_an_error(tmp_path):
    path, _ = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(zipfile.BadZipFile):
        is_torchscript(path)


class Touch:
    """An object that runs a shell command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.target}",)


def test_a_pickle_that_would_run_a_command_is_refused(tmp_path):
    target = tmp_path / "executed"
    forged = rewritten(saved(tmp_path)[0], data=pickle.dumps(Touch(target), protocol=2))

    with pytest.raises(WeightsError, match=r"rewritten\.pt: .*'posix\.system'; nothing in it was executed"):
        read_torchscript(forged)

    assert not target.exists()
    pickle.loads(pickle.dumps(Touch(target), protocol=2))
    assert target.exists(), "the same bytes do run in a plain unpickler"


@pytest.mark.parametrize(
    "imported",
    ["builtins eval", "torch load", "torch.jit._pickle build_tensor_from_id", "__torch__x y", "torch.hub load"],
)
def test_names_that_tensors_do_not_need_are_refused(tmp_path, imported):
    module, name = imported.split()
    forged = rewritten(saved(tmp_path)[0], data=f"c{module}\n{name}\n.".encode())
    with pytest.raises(WeightsError, match=f"'{module}.{name}'"):
        read_torchscript(forged)


def test_classes_of_the_archive_are_never_executed(tmp_path):
    forged = rewritten(saved(tmp_path)[0], data=b"c__torch__.os\nsystem\n)\x81}(X\x01\x00\x00\x00aK\x01ub.")
    archive = read_torchscript(forged)
    assert archive.tensors == {}
    assert archive.classes == {"system"}


def test_a_module_that_contains_itself_is_read_once(tmp_path):
    circle = b"c__torch__\nA\n)\x81q\x00}(X\x02\x00\x00\x00meh\x00ub."
    assert read_torchscript(rewritten(saved(tmp_path)[0], data=circle)).tensors == {}


def test_a_pickle_cannot_change_torch(tmp_path):
    before = torch._utils._rebuild_tensor_v2, torch.HalfStorage
    attack = b"ctorch._utils\n_rebuild_tensor_v2\nN}(X\x0c\x00\x00\x00__defaults__)u\x86b."
    with pytest.raises(WeightsError, match="found a damaged file"):
        read_torchscript(rewritten(saved(tmp_path)[0], data=attack))
    assert (torch._utils._rebuild_tensor_v2, torch.HalfStorage) == before


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "pickle exhausted"),
        (b"]q\x00.", "its root is of type list, not a module"),
        (b"c__torch__\nA\n)\x81.", "attributes"),
        (b"\x80\x02K\x01", "pickle exhausted"),
        (b"c__torch__\nA\n)\x81(X\x07\x00\x00\x00storagectorch\nHalfStorage\nX\x02\x00\x00\x0099N2tQ.", "99"),
    ],
)
def test_damaged_pickles_are_errors(tmp_path, data, reason):
    with pytest.raises(WeightsError, match=rf"rewritten\.pt: .*({reason}).*download it again") as caught:
        read_torchscript(rewritten(saved(tmp_path)[0], data=data))
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_tensor_larger_than_its_storage_is_reported_as_damage(tmp_path):
    path, _ = saved(tmp_path)
    shape = b"(K\x03K\x02t"
    assert pickled_module(path).count(shape) == 1
    larger = pickled_module(path).replace(shape, b"(K\xffK\x02t")
    with pytest.raises(WeightsError, match="out of bounds"):
        read_torchscript(rewritten(path, data=larger))


def test_flipped_bits_are_reported_as_damage(tmp_path):
    path, block = saved(tmp_path)
    content = block.proj.detach().t().contiguous().numpy().tobytes()
    assert path.read_bytes().count(content) == 1
    path.write_bytes(path.read_bytes().replace(content, bytes(len(content))))
    with pytest.raises(WeightsError, match="Bad CRC-32"):
        read_torchscript(path)
