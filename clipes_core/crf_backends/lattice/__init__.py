"""The CRF backend `lattice`: the mathematics of pydensecrf as numba kernels, about 8 times as fast for 2 or 3 labels.

The bilateral kernel has a lattice in 5 dimensions (x, y, and three colours), the position kernel one in 2 dimensions.
Both filters take three steps (`gaussian_kernels`):

    photo -> simplices -> vertices -> chains      which vertices surround a pixel, and which are neighbours
    channels -> splat -> blur -> slice -> logits  in each iteration (`filters`; `grid` for the usual position kernel)
    logits -> softmax -> channels                 (`mean_field`)

Notation: d dimensions; d + 1 vertices of a simplex, and as many axes; M vertices, with the numbers 1 to M, where 0
stands for no vertex; W columns and H rows of pixels. Kernels scan a photo by columns, so the first axis of their arrays
is x. A channel holds the difference between the probability of a label and of label 0. An element is the channels of
one pixel or vertex, and has 1, 2, 4 or 8 lanes.

Nothing is approximated. Results differ from those of pydensecrf by the rounding of float32 numbers only, because the
lattice has the same vertices: on photos, all labels are equal, and the posterior is within 1e-3.
"""
