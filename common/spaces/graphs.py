"""What a space tells of the graphs of its cells: the one description that graph features are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

ABSENT = -1
FEW = 4  # operations, all of whose sets are looked at


@dataclass(frozen=True)
class CellGraphs:
    """The graphs of one kind of cell of N architectures: operations as vertices, edges as the flow of data.

    A cell whose edges carry the operations is given as its line graph: a vertex for every edge, joined to those that
    go on from where it ends. Isomorphic cells must have isomorphic graphs, and identical chains.

    operations: names of the operations that a searched vertex may have. labels: (N, V) int8, for each vertex the index
    of its operation or ABSENT. edges: (N, I + V + 1, I + V + 1) bool, upper triangular, over the inputs, the vertices
    and the output in this order; nothing goes into an input, out of the output or to an absent vertex. None for a
    chain: then the vertices that are there follow each other. inputs: names of the I inputs.
    sets: further sets of operations, by name ("conv" -> all convolutions), that belong together; of at most FEW
    operations all sets are looked at anyway. stages: of a chain, whose vertices' places mean the same in all
    architectures, the numbers of layers that follow each other at one width. name: of this kind of cell, where an
    architecture has several.
    """

    operations: tuple[str, ...]
    labels: np.ndarray
    edges: np.ndarray | None = None
    inputs: tuple[str, ...] = ("input",)
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    stages: tuple[int, ...] = ()
    name: str = ""

    def members(self) -> dict[str, np.ndarray]:
        """(operations,) bool by name: each operation alone, then sets of several, each once."""
        named = {frozenset(ops): name for name, ops in self.sets.items()}
        sizes = range(2, len(self.operations) + 1) if len(self.operations) <= FEW else ()
        every = [frozenset(ops) for size in sizes for ops in combinations(self.operations, size)]
        found = {op: frozenset([op]) for op in self.operations}
        for ops in dict.fromkeys([*named, *every]):
            if len(ops) > 1:
                found[named.get(ops) or "|".join(op for op in self.operations if op in ops)] = ops
        return {name: np.array([op in ops for op in self.operations]) for name, ops in found.items()}
