"""The settings of a dense CRF."""

from typing import Annotated, Any

from pydantic import Field

from clipes_core.config.choice import NameIn
from clipes_core.config.section import Section
from clipes_core.crf_backends import CRF_BACKENDS


class DenseCrfConfig(Section):
    """Backend, kernels and iterations of a dense CRF. The kernel parameters are those of pydensecrf."""

    iter_max: int = Field(10, ge=1, le=100, description="Number of mean-field iterations.")
    pos_w: float = Field(3, ge=0, le=10_000, description="Weight of the Gaussian (position) kernel.")
    # A standard deviation far below 0.1 overflows pydensecrf's lattice and kills the process.
    pos_xy_std: float = Field(1, ge=0.1, le=10_000, description="Standard deviation of the Gaussian kernel [px].")
    bi_w: float = Field(4, ge=0, le=10_000, description="Weight of the bilateral (position and colour) kernel.")
    bi_xy_std: float = Field(
        67, ge=0.1, le=10_000, description="Spatial standard deviation of the bilateral kernel [px]."
    )
    bi_rgb_std: float = Field(
        3, ge=0.1, le=10_000, description="Colour standard deviation of the bilateral kernel, on the scale 0 to 255."
    )
    backend: Annotated[str, NameIn(CRF_BACKENDS)] = Field(
        "lattice",
        description="Implementation of the CRF. `pydensecrf` gives the same labels, but is slower, and "
        "needs the extra `clipes[pydensecrf]`.",
    )

    def key_fields(self) -> dict[str, Any]:
        """Return the settings that affect the CRF's labels, for the cache key of a stage.

        Returns:
            Name of a setting -> plain value. `backend` is included only if its labels may differ from pydensecrf's.
        """
        return self.model_dump(exclude={"backend"} if CRF_BACKENDS[self.backend].exact else set())
