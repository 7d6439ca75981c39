"""What is distinct among feature tensors, position by position: entries, and what a 3x3 convolution sees of a map.

Both are told apart by 64-bit keys. What differs gets other keys but for a chance that even over a large space is less
than one in a million.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Distinct(NamedTuple):
    """The distinct values at one position, over n architectures."""

    first: np.ndarray  # (distinct,) an architecture that has it
    which: np.ndarray  # (n,) int32: the one that each architecture has


class EntryKeys:
    """Keys of the entries of tensors (n, C, V, V), an entry being its C values."""

    def __init__(self, channels: int, side: int) -> None:
        rng = np.random.default_rng(0)
        self.factors = rng.uniform(1, 2, (channels, 1, 1))
        self.odd = rng.integers(2**63, size=(channels, 1, 1), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        self.salts = rng.integers(2**64, size=(side**2, 1), dtype=np.uint64)

    def __call__(self, tensors: np.ndarray, scratch: np.ndarray) -> np.ndarray:
        """(V * V, n) uint64, another key for the same entry at another position.

        Small whole numbers leave the low bits of a float64 empty. The first product fills them where mantissas differ,
        the shift where only exponents do, and the second spreads them over all that are higher.

        Args: scratch: float64 (n or more, C, V, V), which the intermediate values are written into.
        """
        bits = np.multiply(tensors, self.factors, out=scratch[: len(tensors)]).view(np.uint64)
        bits ^= bits >> np.uint64(32)
        bits *= self.odd
        return mix(bits.sum(1).reshape(len(tensors), len(self.salts)).T + self.salts)


def mix(keys: np.ndarray) -> np.ndarray:
    """Every bit of a result depends on all of its key's (the finaliser of SplitMix64; Steele et al. 2014)."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def neighbourhood_keys(keys: np.ndarray) -> np.ndarray:
    """Keys (V * V, n) of what 3x3 positions hold, as sums, out of those (out of `mix`) of single positions."""
    side = round(len(keys) ** 0.5)
    single = keys.reshape(side, side, -1)
    rows = single.copy()
    rows[1:] += single[:-1]
    rows[:-1] += single[1:]
    both = rows.copy()
    both[:, 1:] += rows[:, :-1]
    both[:, :-1] += rows[:, 1:]
    return both.reshape(keys.shape)


def distinct(keys: np.ndarray) -> Distinct:
    """Of the keys (n,) of one position. Neighbours are often alike: only the first of equal ones in a row is sorted."""
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    if len(starts) == 1:
        return Distinct(starts, np.broadcast_to(np.int32(0), keys.shape))
    order = np.argsort(keys[starts])
    ordered = keys[starts[order]]
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    which = np.empty(len(starts), dtype=np.int32)
    which[order] = np.cumsum(new, dtype=np.int32) - 1
    return Distinct(starts[order[new]], np.repeat(which, np.diff(starts, append=len(keys))))
