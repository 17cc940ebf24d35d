"""The CAM refinements. The config key `cam.refine` selects one of them.

A refinement is a function `refine(cams, attention, photo_rgb, config)`. clipes calls the function once for each
view of a photo and each template. A view is the photo at one scale, mirrored or not. The function does not modify its
arguments. It returns (K, h, w) float32 CAMs in [0, 1] on the device of `cams`. The arguments of the function are

- cams: (K, h, w) float32 tensor in [0, 1], the initial CAMs of the photo's K classes,
- attention: `clipes_core.affinity.Attention` between the h x w patches; None if `needs_attention` is False,
- photo_rgb: (h * patch size, w * patch size, 3) uint8 RGB array, [0, 255], the view as the network sees it,
- config: `CamConfig`, the section `cam` of the configuration.

To add a refinement, write its function in a new file of this folder and add a line to `REFINEMENTS`.
"""

from dataclasses import dataclass

from clipes_core.config.choice import NamedFunction


@dataclass(frozen=True)
class Refinement(NamedFunction):
    """An entry of the table `REFINEMENTS`.

    Attributes:
        needs_attention: if true, clipes computes the attention and passes it to the function. If false, clipes saves
            the time and the memory for the attention, and passes None.
    """

    needs_attention: bool


REFINEMENTS = {
    "none": Refinement("clipes_core.refinements.none:none", needs_attention=False),
    "mhsa": Refinement("clipes_core.affinity:mhsa", needs_attention=True),
    "caa": Refinement("clipes_core.affinity:caa", needs_attention=True),
}
