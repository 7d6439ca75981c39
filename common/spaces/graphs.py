"""What a space tells of the graphs of its cells: the one description that graph features are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

ABSENT = -1


@dataclass(frozen=True)
class CellGraphs:
    """The graphs of one kind of cell of N architectures: operations as vertices, edges as the flow of data.

    A cell whose edges carry the operations is given as its line graph: a vertex for every edge, joined to those that
    go on from where it ends. Isomorphic cells must have isomorphic graphs; where `ordered`, they must be identical.

    operations: names of the operations that a searched vertex may have. labels: (N, V) int8, for each vertex the index
    of its operation or ABSENT. edges: (N, I + V + 1, I + V + 1) bool, upper triangular, over the inputs, the vertices
    and the output in this order; nothing goes into an input, out of the output or to an absent vertex. None for a
    chain: then the vertices that are there follow each other. inputs: names of the I inputs.
    sets: further sets of operations, by name ("conv" -> all convolutions), that belong together.
    ordered: a vertex's place means the same in all architectures. stages: of a chain, the numbers of layers that
    follow each other at one width. name: of this kind of cell, where an architecture has several.
    """

    operations: tuple[str, ...]
    labels: np.ndarray
    edges: np.ndarray | None = None
    inputs: tuple[str, ...] = ("input",)
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ordered: bool = False
    stages: tuple[int, ...] = ()
    name: str = ""

    def members(self) -> dict[str, np.ndarray]:
        """(operations,) bool by name: each operation alone, then the sets; sets that are empty, one operation or all
        of them say nothing new and are left out."""
        alone = {op: np.array([op == other for other in self.operations]) for op in self.operations}
        named = {name: np.isin(self.operations, ops) for name, ops in self.sets.items()}
        return alone | {name: flags for name, flags in named.items() if 1 < flags.sum() < len(self.operations)}
