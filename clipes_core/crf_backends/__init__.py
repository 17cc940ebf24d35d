"""The implementations of the dense CRF that `crf.backend` chooses from.

A backend is one function `infer(unary, image, config)`. It mutates nothing and returns the (1 + K, H, W) float32
posterior, in [0, 1], adding up to 1 over the channels. It receives

- unary: (1 + K, H, W) float32 array, C order, -log of the clipped scores,
- image: (H, W, 3) uint8 array, C order, the image whose colours the bilateral kernel compares,
- config: `DenseCrfConfig`, the kernels and the number of iterations.

To add one, write the function in a new file of this folder and add a line to the table. The configuration imports the
table, so the table names the functions, and each is imported when it is used.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class CrfBackend:
    """One row of the table.

    Attributes:
        function: where the function is, as "module:name".
        exact: whether its labels are those of pydensecrf. Exact backends share stage keys, so a mask of one is reused
            when another one is chosen.
    """

    function: str
    exact: bool


CRF_BACKENDS = {
    "pydensecrf": CrfBackend("clipes_core.crf_backends.pydensecrf:infer", exact=True),
}
