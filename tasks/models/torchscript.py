"""Read the tensors of a TorchScript archive without executing anything in it.

An archive is a zip file. The file `data.pkl` in it is a pickle of the tree of modules. The files `data/N` are the
storages of the tensors. The folder `code/` is the program, which is never read. The unpickler below lets the pickle
import only the few names that the tensors need, and refuses all other names. The unpickler replaces the archive's own
classes with inert classes that only hold attributes.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from clipes.tasks.models.file_checks import check_archive, check_memo, report_damage
from clipes_core.errors import WeightsError

STORAGE_DTYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
LIST_BUILDERS = (
    "build_intlist",
    "build_doublelist",
    "build_boollist",
    "build_tensorlist",
    "restore_type_tag",
)


@dataclass(frozen=True)
class ScriptArchive:
    """The content of a TorchScript archive, without its program.

    Attributes:
        tensors: parameters and buffers by dotted name, on the CPU, with the file's dtypes.
        classes: names of the module classes, without their packages.
    """

    tensors: dict[str, torch.Tensor]
    classes: frozenset[str]


def is_torchscript(path: Path) -> bool:
    """Return whether a zip file is a TorchScript archive rather than a checkpoint that torch.save wrote.

    Args:
        path: path of a local zip file.

    Raises:
        zipfile.BadZipFile: the file is not a complete zip file.
    """
    with zipfile.ZipFile(path) as archive:
        return _root(archive) is not None


def read_torchscript(path: Path) -> ScriptArchive:
    """Read the tensors of a TorchScript archive without executing anything in it.

    Args:
        path: path of a local TorchScript archive.

    Returns:
        All tensors in the archive's tree of modules, and the names of its classes. Other attributes, such as training
        flags and lists, are left out.

    Raises:
        WeightsError: the archive is damaged, or its pickle imports a name that tensors do not need.
    """
    with report_damage(path), zipfile.ZipFile(path) as archive:
        check_archive(path, archive)
        unpickler = _ArchiveUnpickler(archive, path)
        tensors = _collect_tensors(unpickler.load())
    return ScriptArchive(tensors, frozenset(unpickler.classes))


def _root(archive: zipfile.ZipFile) -> str | None:
    """Return the name of the top folder of a TorchScript archive, with a trailing slash; None for another zip file."""
    names = [name for name in archive.namelist() if name.endswith("/constants.pkl") and name.count("/") == 1]
    return names[0].removesuffix("constants.pkl") if names else None


class _ScriptObject:
    """A module of the archive, reduced to its attributes."""

    attributes: dict[str, Any]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.attributes = dict(state)


class _ArchiveUnpickler(pickle.Unpickler):
    """Unpickles the `data.pkl` of one archive into inert objects.

    A pickle can change the objects that it imports, by setting their attributes. Therefore this class never gives the
    pickle a real function or class of torch.
    """

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._folder = _root(archive)
        data = archive.read(f"{self._folder}data.pkl")
        check_memo(data)
        super().__init__(io.BytesIO(data))
        self._archive = archive
        self._path = path
        self._storages: dict[str, torch.Tensor] = {}
        self.classes: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        """Return the replacement for the object that the pickle imports by this name.

        Raises:
            WeightsError: a pickle of tensors does not need this name, so the name is refused.
        """
        if module.split(".")[0] == "__torch__":
            self.classes.add(name)
            return type("ScriptObject", (_ScriptObject,), {})
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        if module == "torch.jit._pickle" and name in LIST_BUILDERS:
            return self._list
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        return self._refuse(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """Return the storage to which the pickle refers, as a 1-d tensor."""
        _kind, dtype, key, _device, _count = pid
        if key not in self._storages:
            content = bytearray(self._archive.read(f"{self._folder}data/{key}"))
            raw = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
            self._storages[key] = raw
        return self._storages[key].view(dtype)

    def _tensor(self, storage: torch.Tensor, offset: int, size: Any, stride: Any, *_: Any) -> torch.Tensor:
        return storage.as_strided(size, stride, offset)

    def _list(self, values: list[Any], *_type: str) -> list[Any]:
        return values

    def _refuse(self, name: str) -> NoReturn:
        raise WeightsError(
            f"{self._path}: expected an archive of tensors only, found a pickle that imports {name!r}; "
            "nothing in it was executed. Download the weights from a source that you trust"
        )


def _collect_tensors(root: Any) -> dict[str, torch.Tensor]:
    """Return all tensors in a tree of modules, by dotted name."""
    if not isinstance(root, _ScriptObject):
        raise pickle.UnpicklingError(f"its root is of type {type(root).__name__}, not a module")
    tensors = {}
    waiting: list[tuple[str, _ScriptObject]] = [("", root)]
    seen = {id(root)}  # without this set, the loop would never end for a forged tree that contains itself
    while waiting:
        prefix, module = waiting.pop()
        for name, value in module.attributes.items():
            if isinstance(value, torch.Tensor):
                tensors[prefix + name] = value
            elif isinstance(value, _ScriptObject) and id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{prefix}{name}.", value))
    return tensors
