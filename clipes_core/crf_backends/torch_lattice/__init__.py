"""The mathematics of the CRF backend `lattice` in torch: batches of photos of one size, on any device.

All photos of a batch share one lattice in 5 dimensions, in which the number of the photo is a part of each vertex's
key, so that no vertex belongs to two photos. They also share one lattice in 2 dimensions, which depends on the size
only.

    photos -> simplices -> lattice                 which vertices surround a pixel, and which are neighbours
    channels -> splat -> blur -> slice -> logits   in each iteration (`lattice`)
    logits -> softmax -> channels                  (`mean_field`)

Notation: B photos; d dimensions; d + 1 corners of a simplex, and as many axes; M vertices, with the numbers 0 to M - 1,
where M stands for no vertex; P pixels of a lattice, in the order of rows, columns and photos. A channel holds the
difference between the probability of a label and of label 0, and there are C of them.

The results are deterministic, and do not depend on the other photos of a batch: no sum is computed with atomic
operations, and each sum has an order of its own. They differ from those of the numba kernels by rounding only.
"""
