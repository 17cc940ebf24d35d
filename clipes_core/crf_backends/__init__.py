"""The implementations of the dense CRF. The setting `crf.backend` is the name of one implementation.

A backend is a function `infer(unary, image, config)`. It does not modify its arguments. It returns the (1 + K, H, W)
float32 posterior, in [0, 1]; the channels add up to 1. Its arguments are

- unary: (1 + K, H, W) float32 array in C order; contains -log of the clipped class scores,
- image: (H, W, 3) uint8 array in C order; the bilateral kernel compares the colours of this image,
- config: `DenseCrfConfig`, the kernels and the number of iterations.

A backend can also have a function `infer_batch(unaries, images, config, device)` for devices such as GPUs. It computes
several photos of one size and with the same number of labels. `device` is the name of a torch device, and the other
arguments have an additional first axis B, the number of photos. The function queues the computation, and returns a
function without arguments, which waits for the (B, 1 + K, H, W) posteriors.

To add a backend, write its function in a new file of this folder and add a line to `CRF_BACKENDS`.
"""

from dataclasses import dataclass

from clipes_core.config.choice import NamedFunction
from clipes_core.config.extras import PYDENSECRF, Extra


@dataclass(frozen=True)
class CrfBackend(NamedFunction):
    """A backend in the table.

    Attributes:
        exact: if true, the backend gives the same labels as pydensecrf, apart from single pixels whose labels are
            equally probable up to rounding. If `crf.backend` changes from one exact backend to another, clipes
            therefore reuses the existing masks.
        preparation: if the backend needs a preparation, such as a compilation, the function that does it. clipes calls
            it before workers use the backend. Its arguments are two functions that take a message: `inform` and `warn`.
        extra: the extra of clipes that installs the backend's package, unless every installation of clipes has it.
        on_devices: the function `infer_batch`; None if the backend runs on processors only.
    """

    exact: bool
    preparation: NamedFunction | None = None
    extra: Extra | None = None
    on_devices: NamedFunction | None = None


CRF_BACKENDS = {
    "lattice": CrfBackend(
        "clipes_core.crf_backends.lattice.inference:infer",
        exact=True,
        preparation=NamedFunction("clipes_core.crf_backends.lattice.inference:prepare"),
        on_devices=NamedFunction("clipes_core.crf_backends.torch_lattice.inference:infer_batch"),
    ),
    "pydensecrf": CrfBackend(
        "clipes_core.crf_backends.pydensecrf:infer",
        exact=True,
        extra=PYDENSECRF,
    ),
}
