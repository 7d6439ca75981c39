"""3x3 convolutions over the small maps of the LeNet as matrix products of contiguous slices, without any unfolding.

A map is held line by line, position by position, channel by channel. The positions of an output line that a stretch of
an input line reaches then lie next to each other if the output is held column by column: what convolves a row of the
input into a column of the output is one product of two contiguous slices with a slice of the stacked kernel. So a
layer takes its map by rows and leaves it by columns, and a second one takes it by columns and leaves it by rows.

Feature tensors are zero on and below the diagonal, because an edge i -> j has i < j. Positions that are the same for
all architectures, in the input and in every later map, cost nothing: see `Convolution.constant_taps`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Product(NamedTuple):
    """`out[to] += kernel[rows, columns] @ x[of]` of maps (positions * channels, architectures)."""

    of: slice
    to: slice
    rows: slice
    columns: slice


class Convolution:
    """A 3x3 convolution, padding 1, of V x V maps by lines (rows, say) of which only some positions differ.

    Attributes:
        lines: per line of the output (column, then), the slice that it takes and the products that make it.
        products: those of all lines.
        size: positions made * channels of the output.
        outputs: (V, V) bool, by lines of the *output*: the positions that see a varying one; only these are made.
        order: (V * V, 2) output positions (line, place): those that are made, in their order, then the others.
        constant_taps: (V * V, 3, 3) bool, in that order: which taps of the kernel, as `stack` has them, see a constant.
    """

    def __init__(self, varying: np.ndarray, width_in: int, width_out: int) -> None:
        """`varying`: (V, V) bool, by lines of the input, without gaps in a line."""
        side = len(varying)
        self.width_in, self.width_out = width_in, width_out
        near = [slice(max(i - 1, 0), i + 2) for i in range(side)]
        self.outputs = np.array([[varying[near[i], near[j]].any() for i in range(side)] for j in range(side)])
        place_in, place_out = (np.cumsum(mask).reshape(side, side) - 1 for mask in (varying, self.outputs))
        self.lines: list[tuple[slice, list[Product]]] = []
        for j in range(side):
            products = []
            for r in range(side):
                seen = [c for c in range(side) if abs(c - j) <= 1 and varying[r, c]]
                if seen:
                    reached = range(side)[near[r]]
                    products.append(
                        Product(
                            _span(place_in[r, seen[0]], place_in[r, seen[-1]], width_in),
                            _span(place_out[j, reached[0]], place_out[j, reached[-1]], width_out),
                            _span(reached[0] - r + 1, reached[-1] - r + 1, width_out),
                            _span(seen[0] - j + 1, seen[-1] - j + 1, width_in),
                        )
                    )
            if products:
                places = place_out[j, self.outputs[j]]
                self.lines.append((_span(places[0], places[-1], width_out), products))
        self.products = [product for _, products in self.lines for product in products]
        self.size = int(self.outputs.sum()) * width_out
        self.order = np.concatenate([np.argwhere(self.outputs), np.argwhere(~self.outputs)])
        constant = np.pad(~varying, 1)  # beyond the map there is nothing to see
        taps = [constant[i : i + 3, j : j + 3][::-1] for j, i in self.order]
        self.constant_taps = torch.from_numpy(np.array(taps))

    def stack(self, weight: Tensor) -> Tensor:
        """(3 * C_out, 3 * C_in) of (C_out, C_in, 3, 3): output positions one before .. one after, as input ones."""
        return weight.flip(2).permute(2, 0, 3, 1).reshape(3 * self.width_out, 3 * self.width_in)

    def unstack(self, kernel: Tensor) -> Tensor:
        """The inverse of `stack`."""
        return kernel.view(3, self.width_out, 3, self.width_in).permute(1, 3, 0, 2).flip(2)


def _span(first: int, last: int, width: int) -> slice:
    return slice(int(first) * width, (int(last) + 1) * width)
