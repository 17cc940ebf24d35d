"""A Gaussian filter on the permutohedral lattice, as tables of indices and weights.

Source: Krähenbühl and Koltun 2011, sec. 4; Adams, Baek and Davis 2010.
"""

from dataclasses import dataclass, replace

import torch

TINY = 1e-20  # keeps the norm of a pixel finite
LONGEST_PART = 64  # corners that one thread of a GPU adds up


@dataclass(frozen=True, eq=False)
class Lattice:
    """The vertices around pixels, and their neighbours.

    Attributes:
        numbers: (d + 1, P) int32, the vertices of each pixel.
        weights: (d + 1, P) float32, their weights.
        pixels: (N,) int32, the pixels around each vertex, vertex after vertex.
        pixel_weights: (N, 1) float32, their weights.
        part_lengths: (parts,) int32, the numbers of successive entries of `pixels` that form a part. All entries of a
            part belong to the same vertex.
        vertex_lengths: (M + 1,) int32, the numbers of parts of the vertices; 0 for number M.
        before: (d + 1, M + 1) int32, the previous vertex along each axis.
        after: (d + 1, M + 1) int32, the next vertex along each axis.
    """

    numbers: torch.Tensor
    weights: torch.Tensor
    pixels: torch.Tensor
    pixel_weights: torch.Tensor
    part_lengths: torch.Tensor
    vertex_lengths: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor

    def filter(self, channels: torch.Tensor) -> torch.Tensor:
        """Filter channels without any wait of the host for the device.

        Args:
            channels: float32 of any shape whose size is a multiple of P: P pixels with the channels of each.

        Returns:
            The filtered channels in the same shape.
        """
        values = self._blur(self._splat(channels.reshape(self.numbers.shape[1], -1)))
        return self._slice(values).view_as(channels)

    def _splat(self, channels: torch.Tensor) -> torch.Tensor:
        """Return (M + 1, C) sums over the pixels around each vertex; the last row is 0.

        Each sum has two levels, so that a GPU need not add up all pixels of a large area in one thread.
        """
        spread = channels.index_select(0, self.pixels).mul_(self.pixel_weights)
        parts = torch.segment_reduce(spread, "sum", lengths=self.part_lengths, unsafe=True)
        return torch.segment_reduce(parts, "sum", lengths=self.vertex_lengths, unsafe=True)

    def _blur(self, values: torch.Tensor) -> torch.Tensor:
        """Add to each vertex half of its two neighbours, along one axis after the other."""
        for before, after in zip(self.before, self.after, strict=True):
            values = values + values.index_select(0, before).add_(values.index_select(0, after)).mul_(0.5)
        return values

    def _slice(self, values: torch.Tensor) -> torch.Tensor:
        """Return (P, C) weighted sums over the vertices of each pixel."""
        sums = torch.zeros((), device=values.device)
        for numbers, weights in zip(self.numbers, self.weights, strict=True):
            sums = values.index_select(0, numbers).mul_(weights[:, None]).add_(sums)
        return sums


def build_lattice(
    keys: torch.Tensor, weights: torch.Tensor, other_keys: torch.Tensor, moves: torch.Tensor, weight: float
) -> Lattice:
    """Build a lattice, and normalise its filter.

    The filtered channel of pixel i is weight * n_i sum_j k_ij n_j channel_j, where k is the Gaussian, and n_i is
    1 / sqrt(sum_j k_ij). The weights of the lattice include sqrt(weight) n. The host waits for the device twice: to
    learn the number of vertices, and that of the parts.

    Args:
        keys: (P, d + 1) int64, the keys of the corners of each pixel's simplex.
        weights: (P, d + 1) float32, their weights.
        other_keys: (n,) int64, keys of further vertices, through which the blur passes.
        moves: (d + 1,) int64, the change of the key by a move along each axis.
        weight: weight of the kernel.
    """
    numbers, order, vertices, sizes = _number_vertices(torch.cat([keys.flatten(), other_keys]))
    part_lengths, vertex_lengths = _divide(sizes)
    count, corners = keys.shape
    lattice = Lattice(
        numbers=numbers[: keys.numel()].view(count, corners).t().contiguous(),
        weights=weights.t().contiguous(),
        # an entry of a further vertex refers to any pixel, with weight 0
        pixels=order.div(corners, rounding_mode="floor").clamp_(max=count - 1),
        pixel_weights=torch.cat([weights.flatten(), weights.new_zeros(len(other_keys))]).index_select(0, order)[
            :, None
        ],
        part_lengths=part_lengths,
        vertex_lengths=vertex_lengths,
        before=_neighbours(vertices, -moves),
        after=_neighbours(vertices, moves),
    )
    norm = lattice.filter(weights.new_ones(count))
    factors = torch.sqrt(weight / (norm + TINY))
    own_factors = factors.index_select(0, lattice.pixels)[:, None]
    return replace(lattice, weights=lattice.weights * factors, pixel_weights=lattice.pixel_weights * own_factors)


def _number_vertices(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Give equal keys one number, in the order of the keys.

    Args:
        keys: (N,) int64.

    Returns:
        (N,) int32 numbers of the keys; (N,) int32 places of the keys in the order of their numbers, and of their places
        if the numbers are equal; (M,) int64 different keys in ascending order; (M,) int64, how often each occurs.
    """
    keys, order = keys.sort(stable=True)
    vertices, numbers, sizes = torch.unique_consecutive(keys, return_inverse=True, return_counts=True)
    return torch.empty_like(numbers, dtype=torch.int32).scatter_(0, order, numbers.int()), order.int(), vertices, sizes


def _divide(sizes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Divide the entries of vertices into parts; a part begins with the first entry of a vertex, or LONGEST_PART later.

    Args:
        sizes: (M,) int64, the number of entries of each vertex.

    Returns:
        `part_lengths` and `vertex_lengths` of a lattice.
    """
    parts = (sizes + LONGEST_PART - 1).div(LONGEST_PART, rounding_mode="floor")
    owners = torch.repeat_interleave(parts)
    in_vertex = torch.arange(len(owners), device=sizes.device) - (parts.cumsum(0) - parts)[owners]
    lengths = (sizes[owners] - LONGEST_PART * in_vertex).clamp_(max=LONGEST_PART)
    return lengths.int(), torch.nn.functional.pad(parts, (0, 1)).int()


def _neighbours(vertices: torch.Tensor, moves: torch.Tensor) -> torch.Tensor:
    """Return the (d + 1, M + 1) int32 number of the vertex at each move's end, or M if there is none.

    Args:
        vertices: (M,) int64, the keys of the vertices in ascending order.
        moves: (d + 1,) int64.
    """
    count = len(vertices)
    neighbours = torch.full((len(moves), count + 1), count, dtype=torch.int32, device=vertices.device)
    for row, move in zip(neighbours, moves, strict=True):
        wanted = vertices + move
        found = torch.searchsorted(vertices, wanted, out_int32=True).clamp_(max=count - 1)
        row[:count] = torch.where(vertices.index_select(0, found) == wanted, found, count)
    return neighbours
