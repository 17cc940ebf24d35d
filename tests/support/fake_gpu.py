"""A GPU without hardware: its tensors have a shape and a device, but no values, so that any read of a value fails.

The launched kernels are counted. The device is cuda, except for networks that need autograd, whose engine asks for the
real device. For these, it is the CPU, whose tensors have no values either.
"""

from contextlib import contextmanager

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from clipes_core import affinity, cams, flattened, gradcam
from clipes_core.backbones import backbone, pull_back

WITHOUT_KERNEL = (
    *("view", "reshape", "permute", "transpose", "t", "expand", "slice", "select", "unsqueeze", "squeeze", "split"),
    *("split_with_sizes", "detach", "alias", "unbind", "as_strided", "_unsafe_view", "empty", "empty_like"),
    *("new_empty", "lift_fresh", "promote_types"),
)


class Launches(TorchDispatchMode):
    """Counts the operations that launch a kernel or a copy, and refuses copies from cuda to the host."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        on_gpu = any(isinstance(each, torch.Tensor) and each.is_cuda for each in args)
        if on_gpu and isinstance(result, torch.Tensor) and not result.is_cuda:
            raise AssertionError(f"{function} copies a tensor to the host")
        namespace, _, name = function._schema.name.partition("::")
        self.count += namespace == "aten" and name not in WITHOUT_KERNEL
        return result


class FakeGpu:
    """A device of which nothing can be read, and a record of its work.

    Attributes:
        downloads: number of downloads.
        launches: the count of launched kernels and copies.
    """

    def __init__(self, device):
        self.device, self.downloads, self.launches = device, 0, Launches()

    def upload(self, array, device):
        assert device.type == self.device.type
        return torch.empty(array.shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype, device=device)

    def download(self, *tensors):
        """Return arrays of plausible values in place of those that the tensors would have on a GPU."""
        self.downloads += tensors[0].device.type == self.device.type  # a refinement may return tensors on the host
        arrays = tuple(np.full(tensor.shape, 0.5, str(tensor.dtype).removeprefix("torch.")) for tensor in tensors)
        return lambda: arrays

    def hold(self, network):
        """Move the weights of a backbone to the device."""
        for module in network.visual.modules():
            for name, weight in list(module.named_parameters(recurse=False)):
                own = torch.empty(weight.shape, dtype=weight.dtype, device=self.device)
                module.register_parameter(name, torch.nn.Parameter(own, requires_grad=False))
            for name, buffer in list(module.named_buffers(recurse=False)):
                setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype, device=self.device))
        network.device = self.device
        network._mean, network._std = (torch.empty(3, 1, 1, device=self.device) for _ in range(2))


@contextmanager
def fake_gpu(monkeypatch, network, device="cuda"):
    """Move a backbone to a FakeGpu, let all transfers of clipes_core use it, and yield it."""
    gpu = FakeGpu(torch.device(device))
    with FakeTensorMode(), monkeypatch.context() as patch:
        gpu.hold(network)
        for module in (affinity, backbone, pull_back, flattened, gradcam):
            patch.setattr(module, "upload", gpu.upload)
        patch.setattr(cams, "download", gpu.download)
        with gpu.launches:
            yield gpu
