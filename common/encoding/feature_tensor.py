"""The feature tensor of ReNAS: what a cell is and what each of its operations costs, as matrices over its graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.encoding.base import Encoding, FeatureSource
from common.errors import InputError
from common.spaces.base import SearchSpace, TensorSpace

if TYPE_CHECKING:
    from common.benchmarks.table import BenchmarkTable

PARTS = ("type", "flops", "params")  # in the order of the tensor's channels


def encode(space: TensorSpace, codes: np.ndarray, parts: Sequence[str] = PARTS, dtype: type = np.float32) -> np.ndarray:
    """Feature tensors of N architectures (ReNAS, section 3.1 and figure 1).

    The adjacency matrix times a vector over the positions, for one type vector and, per cell of the network, one
    vector of FLOPs and one of parameters: entry (i, j) holds the number of the operation on edge i -> j (or at vertex
    j where operations sit on vertices). Operations that cannot influence the output are left out, as the benchmark's
    pruning leaves them out of NAS-Bench-101 cells.

    Args:
        codes: (N, space.code_length) uint8.
        parts: which of PARTS to make; "type" alone is what ReNAS-1, 3 and 5 seem to have used.
        dtype: float32 holds the values of NAS-Bench-101 and 201 exactly; the published demo stores float64.
    Returns: (N, C, V, V) with C = 1 (type) + cells (FLOPs) + cells (parameters): 19 x 7 x 7 for NAS-Bench-101,
        31 x 4 x 4 for NAS-Bench-201.
    """
    codes = space.live_codes(codes)
    vectors = []
    if "type" in parts:
        vectors.append(space.types(codes)[:, None])
    if "flops" in parts or "params" in parts:
        costs = space.costs(codes)
        vectors += [values for part, values in (("flops", costs.flops), ("params", costs.params)) if part in parts]
    return space.edge_matrices(codes, np.concatenate(vectors, axis=1).astype(dtype))


def part_channels(channels: int, parts: Sequence[str]) -> list[int]:
    """Channels of a full tensor of 1 + 2n channels that hold `parts`. Raises InputError for other tensors."""
    cells, rest = divmod(channels - 1, 2)
    if rest or cells < 1:
        raise InputError(
            f"tensors of {channels} channels are not 1 type + n FLOPs + n parameter matrices: use all parts"
        )
    spans = {"type": range(1), "flops": range(1, 1 + cells), "params": range(1 + cells, channels)}
    return [channel for part in PARTS if part in parts for channel in spans[part]]


class FeatureTensor(Encoding):
    """(N, C, V, V) float32: the feature tensor (`encode`), all of it or the parts named ("tensor=type,flops")."""

    name = "tensor"

    def __init__(self, parts: str = ",".join(PARTS)) -> None:
        """parts: some of PARTS, comma-separated; they are always in the order of PARTS."""
        asked = [part.strip() for part in parts.split(",")]
        unknown = [part for part in asked if part not in PARTS]
        if unknown:
            raise InputError(f"feature tensor: unknown part {unknown[0]!r}; choose from {', '.join(PARTS)}")
        self.parts = tuple(part for part in PARTS if part in asked)

    def check(self, space: SearchSpace) -> None:
        if not isinstance(space, TensorSpace):
            raise InputError(
                f"{space.title} has no feature tensors: choose a flat encoding, such as one_hot+costs, or another "
                "predictor (--predictor boosting)"
            )

    def encode(self, space: SearchSpace, codes: np.ndarray) -> np.ndarray:
        self.check(space)
        assert isinstance(space, TensorSpace)
        return encode(space, codes, self.parts)

    def source(self, table: BenchmarkTable) -> FeatureSource:
        """Tensors that the table brings, where it brings any, else encoded ones."""
        if table.prepared is None:
            return super().source(table)
        if self.parts == PARTS:  # whatever the channels are
            return table.prepared
        return ChannelSubset(table.prepared, tuple(part_channels(table.prepared.shape[0], self.parts)))

    def describe(self) -> str:
        return self.name if self.parts == PARTS else f"{self.name}={','.join(self.parts)}"


@dataclass(frozen=True)
class ChannelSubset:
    """Some channels of another source: the parts of prepared tensors."""

    source: FeatureSource
    channels: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.channels), *self.source.shape[1:])

    def __len__(self) -> int:
        return len(self.source)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        return self.source.rows(indices)[:, list(self.channels)]
