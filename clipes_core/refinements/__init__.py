"""The CAM refinements that `cam.refine` chooses from.

A refinement is one function `refine(cams, attention, photo_rgb, config)`, called once per photo and view (scale and
mirror). It mutates nothing and returns (K, h, w) float32 CAMs in [0, 1] on the device of `cams`. It receives

- cams: (K, h, w) float32 tensor in [0, 1], the initial CAMs of the photo's K classes,
- attention: `clipes_core.affinity.Attention` over the h x w patches; None if the table says that it is not needed,
- photo_rgb: (h * patch size, w * patch size, 3) uint8 RGB array, [0, 255], the view as the network sees it,
- config: `CamConfig`, the settings of the section `cam`.

To add one, write the function in a new file of this folder and add a line to the table. The configuration imports the
table, so the table names the functions, and each is imported when it is used.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Refinement:
    """One row of the table.

    Attributes:
        function: where the function is, as "module:name".
        needs_attention: whether the function reads the attention, which costs time and memory.
    """

    function: str
    needs_attention: bool


REFINEMENTS = {
    "none": Refinement("clipes_core.refinements.none:none", needs_attention=False),
    "mhsa": Refinement("clipes_core.affinity:mhsa", needs_attention=True),
    "caa": Refinement("clipes_core.affinity:caa", needs_attention=True),
}
