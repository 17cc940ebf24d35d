"""What a function asks of torch: the number of its operations, and the memory of its tensors."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class TorchCalls(TorchDispatchMode):
    """Counts the operations of a `with` block, and the memory of the tensors that they return.

    Attributes:
        count: number of operations that are not views.
        peak_bytes: the largest memory of all such tensors at one time [bytes].
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = self.peak_bytes = self._bytes = 0
        self._alive = set[int]()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = operation(*args, **(kwargs or {}))
        self.count += not operation.is_view
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._note(leaf.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._alive:
            self._alive.add(key)
            self._bytes += size
            self.peak_bytes = max(self.peak_bytes, self._bytes)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._alive.remove(key)
        self._bytes -= size


def torch_calls(function: Callable[..., Any], *args: Any) -> TorchCalls:
    """Call a function, and return what it asked of torch."""
    with TorchCalls() as calls:
        function(*args)
    return calls
