"""The CAM refinements. The config key `cam.refine` selects one of them.

A refinement is a function `refine(cams, attention, photos_rgb, config)`. clipes calls the function once for each
view of a batch of photos and each template. A view is a photo at one scale, mirrored or not. The function does not
modify its arguments. It returns a (Q, h, w) float32 tensor of CAMs in [0, 1], on any device. The arguments are

- cams: (Q, h, w) float32 array in [0, 1], the initial CAMs of the classes of all photos in the batch,
- attention: `clipes_core.affinity.Attention`, whose method `spread` spreads Q maps along the attention between the
  patches of their photos; None if `needs_attention` is False,
- photos_rgb: Q arrays, (h * patch size, w * patch size, 3) uint8 RGB, [0, 255]: the view of the photo of each CAM, as
  the network sees it,
- config: `CamConfig`, the section `cam` of the configuration.

On a GPU, the function must not wait for the device, for example by reading a value of a tensor.

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
