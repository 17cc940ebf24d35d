"""The settings of a dense CRF."""

from typing import Annotated, Any

from pydantic import Field

from clipes_core.config.choice import NameIn
from clipes_core.config.section import Section
from clipes_core.crf_backends import CRF_BACKENDS


class DenseCrfConfig(Section):
    """Backend, kernels and iterations of a dense CRF. The kernel parameters are those of pydensecrf."""

    iter_max: int = Field(10, ge=1, le=100, description="Number of mean-field iterations.")
    pos_w: float = Field(3, ge=0, description="Weight of the Gaussian (position) kernel.")
    # Standard deviations far below 0.1 overflow pydensecrf's lattice, which kills the process.
    pos_xy_std: float = Field(1, ge=0.1, description="Standard deviation of the Gaussian kernel [px].")
    bi_w: float = Field(4, ge=0, description="Weight of the bilateral (position and colour) kernel.")
    bi_xy_std: float = Field(67, ge=0.1, description="Spatial standard deviation of the bilateral kernel [px].")
    bi_rgb_std: float = Field(
        3, ge=0.1, description="Colour standard deviation of the bilateral kernel, in levels 0 to 255."
    )
    backend: Annotated[str, NameIn(CRF_BACKENDS)] = Field("pydensecrf", description="Implementation of the CRF.")

    def key_fields(self) -> dict[str, Any]:
        """Return the settings that affect the labels. Stage keys are computed from these settings.

        Returns:
            The plain values of all settings, by name. `backend` is left out if it gives the same labels as pydensecrf.
        """
        return self.model_dump(exclude={"backend"} if CRF_BACKENDS[self.backend].exact else set())
