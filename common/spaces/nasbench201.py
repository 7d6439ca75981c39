"""NAS-Bench-201: a cell of 4 nodes whose 6 edges each carry one of 5 operations (Dong & Yang, ICLR 2020)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np

from common.errors import InputError
from common.spaces.base import Costs, SpaceExhausted, TensorSpace
from common.spaces.choices import ChoiceSpace
from common.spaces.graphs import ABSENT, CellGraphs
from common.spaces.sketch import Block, Sketch, with_operations_on_edges

OPS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # (source node, target node), in the order of the text form
NONE, SKIP, CONV1, CONV3, POOL = range(len(OPS))
STAGES = 3  # widths C, 2C, 4C, a stride-2 residual block between two stages

_NODE = re.compile(r"\|([a-z0-9_]+)~(\d)(?=\|)")


@dataclass(frozen=True)
class Cell201:
    """A NAS-Bench-201 cell: one operation index per edge, in the order of EDGES."""

    ops: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.ops) != len(EDGES) or any(not 0 <= op < len(OPS) for op in self.ops):
            raise ValueError(f"need {len(EDGES)} operation indices in [0, {len(OPS)}), got {self.ops}")


@dataclass(frozen=True)
class NasBench201(ChoiceSpace[Cell201], TensorSpace[Cell201]):
    """The space with its skeleton: `cells_per_stage` cells at C, 2C and 4C channels (benchmark and search: C=16, N=5).

    A FLOP is, as in the benchmark's own counter, one multiply-accumulate, plus 2 per output element of a batch norm;
    poolings and additions inside a cell count nothing.
    """

    channels: int = 16
    cells_per_stage: int = 5
    num_classes: int = 10
    image_size: int = 32

    name: ClassVar[str] = "nasbench201"
    title: ClassVar[str] = "NAS-Bench-201"
    code_length: ClassVar[int] = len(EDGES)
    size: ClassVar[int | None] = len(OPS) ** len(EDGES)
    choices: ClassVar[int] = len(OPS)
    num_vertices: ClassVar[int] = 4
    network_options: ClassVar[tuple[str, ...]] = ("channels", "cells_per_stage")

    def __post_init__(self) -> None:
        if self.image_size % 2 ** (STAGES - 1):
            raise InputError(f"{self.title}: image size {self.image_size} cannot be halved {STAGES - 1} times")

    @property
    def num_cells(self) -> int:  # type: ignore[override]
        return STAGES * self.cells_per_stage

    def shallow(self) -> NasBench201:
        """With one cell a stage."""
        return replace(self, cells_per_stage=1)

    # text ------------------------------------------------------------------------------------------------------

    def parse(self, text: str) -> Cell201:
        """From `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`."""
        nodes = text.strip().split("+")
        ops: list[int] = []
        if len(nodes) != self.num_vertices - 1:
            raise InputError(f"not a {self.title} cell: {text!r} has {len(nodes)} node groups instead of 3")
        for target, node in enumerate(nodes, start=1):
            found = _NODE.findall(node)
            rebuilt = "".join(f"|{op}~{source}" for op, source in found) + "|"
            if rebuilt != node or [int(source) for _, source in found] != list(range(target)):
                raise InputError(f"not a {self.title} cell: node group {target} is {node!r} in {text!r}")
            for op, _ in found:
                if op not in OPS:
                    raise InputError(f"unknown operation {op!r} in {text!r}; known: {', '.join(OPS)}")
                ops.append(OPS.index(op))
        return Cell201(tuple(ops))

    def format(self, arch: Cell201) -> str:
        named = iter(arch.ops)
        groups = (
            "".join(f"|{OPS[next(named)]}~{source}" for source in range(target)) + "|"
            for target in range(1, self.num_vertices)
        )
        return "+".join(groups)

    # walking ---------------------------------------------------------------------------------------------------

    def choices_of(self, arch: Cell201) -> tuple[int, ...]:
        return arch.ops

    def with_choices(self, choices: Sequence[int]) -> Cell201:
        return Cell201(tuple(choices))

    def mutate(self, arch: Cell201, rng: np.random.Generator) -> Cell201:
        """One edge gets another operation, drawn until the cell is not isomorphic to `arch`."""
        key = self.canonical_key(arch)
        for _ in range(1000):  # at least one of the 24 changes makes another cell
            edge = int(rng.integers(len(EDGES)))
            op = (arch.ops[edge] + int(rng.integers(1, len(OPS)))) % len(OPS)
            mutant = Cell201((*arch.ops[:edge], op, *arch.ops[edge + 1 :]))
            if self.canonical_key(mutant) != key:
                return mutant
        raise SpaceExhausted(f"no mutant of {self.format(arch)} in 1,000 draws")

    # identity --------------------------------------------------------------------------------------------------

    def canonical_key(self, arch: Cell201) -> str:
        """The output as a sum of terms in the input `x`, with the terms sorted, and the number of convolutions in it.

        A node is the multiset of its summands: a skip edge hands on the summands of the node it comes from, so
        skip-merged nodes coincide with the cell written without them; `none` edges and everything behind an
        unreachable node vanish; the order of equal parts does not matter. Two convolutions of one node read the same
        as one convolution that is taken twice (on two ways, through skips), but have weights of their own: the numbers
        of 1x1 and 3x3 convolutions, each counted once, tell the two apart (in all 15,625 cells, which a test checks).
        """
        nodes: list[list[tuple[str, frozenset[int]]]] = [[("x", frozenset())]]  # summands, the edges they use
        for target in range(1, self.num_vertices):
            summands: list[tuple[str, frozenset[int]]] = []
            for edge, ((source, node), op) in enumerate(zip(EDGES, arch.ops, strict=True)):
                if node != target or op == NONE or not nodes[source]:
                    continue
                if op == SKIP:
                    summands += nodes[source]
                    continue
                inner = "+".join(text for text, _ in nodes[source])
                edges = frozenset({edge}).union(*(used for _, used in nodes[source]))
                summands.append((f"{op}({inner})", edges))
            nodes.append(sorted(summands, key=lambda summand: summand[0]))
        if not nodes[-1]:
            return "0"
        ops = [arch.ops[edge] for edge in frozenset().union(*(used for _, used in nodes[-1]))]
        return f"{'+'.join(text for text, _ in nodes[-1])} #{ops.count(CONV1)},{ops.count(CONV3)}"

    def reaches_output(self, arch: Cell201) -> bool:
        return self.canonical_key(arch) != "0"

    # arrays ----------------------------------------------------------------------------------------------------

    def live_codes(self, codes: np.ndarray) -> np.ndarray:
        """Edges from a node without input, or into a node without a way to the output, become `none`.

        (In the official network a convolution behind a dead node still adds its batch norm's learnt offset.)
        """
        there = {edge: codes[:, column] != NONE for column, edge in enumerate(EDGES)}
        last = self.num_vertices - 1
        fed: list[np.ndarray] = [np.ones(len(codes), dtype=bool)]
        for node in range(1, self.num_vertices):
            fed.append(np.any([there[i, j] & fed[i] for i, j in EDGES if j == node], axis=0))
        used: dict[int, np.ndarray] = {last: np.ones(len(codes), dtype=bool)}
        for node in reversed(range(last)):
            used[node] = np.any([there[i, j] & used[j] for i, j in EDGES if i == node], axis=0)
        live = np.stack([there[i, j] & fed[i] & used[j] for i, j in EDGES], axis=1)
        return np.where(live, codes, NONE).astype(codes.dtype)

    def canonical_codes(self, codes: np.ndarray) -> np.ndarray:
        """The plainest isomorphic cell: the fewest live edges, then the lexicographically smallest code."""
        return _plainest_codes()[codes @ (len(OPS) ** np.arange(len(EDGES))[::-1])]

    def cell_graphs(self, codes: np.ndarray) -> list[CellGraphs]:
        """The line graph: the edges that are there, joined where one goes on from another."""
        labels = codes.astype(np.int8) - 1
        live = np.ones((len(codes), len(EDGES) + 2), dtype=bool)
        live[:, 1:-1] = labels != ABSENT
        places = ((0, 0), *EDGES, (self.num_vertices - 1,) * 2)  # input and output: from a node to itself
        joined = np.array(
            [[a < b and before[1] == after[0] for b, after in enumerate(places)] for a, before in enumerate(places)]
        )
        edges = joined & live[:, :, None] & live[:, None, :]
        sets = {"conv": OPS[CONV1 : CONV3 + 1], "no params": (OPS[SKIP], OPS[POOL]), "not skip": OPS[CONV1:]}
        return [CellGraphs(OPS[1:], labels, edges, sets=sets)]

    def sketches(self, arch: Cell201) -> list[Sketch]:
        """The edges that are there and lead from the input to the output."""
        live = self.live_codes(self.to_codes([arch]))[0].tolist()
        there = [(str(i), str(j), OPS[op]) for (i, j), op in zip(EDGES, live, strict=True) if op != NONE]
        inner = {str(node): Block("+", "sum") for node in (1, 2) if any(str(node) == j for _, j, _ in there)}
        nodes = {"0": Block("input", "end"), **inner, "3": Block("output", "end")}
        return [with_operations_on_edges(nodes, there)]

    def types(self, codes: np.ndarray) -> np.ndarray:
        """The operation's index in OPS: `none`, an edge that is not there, is 0."""
        return codes.astype(np.int64)

    def edge_matrices(self, codes: np.ndarray, values: np.ndarray) -> np.ndarray:
        out = np.zeros((*values.shape[:2], self.num_vertices, self.num_vertices), dtype=values.dtype)
        sources, targets = np.array(EDGES).T
        out[:, :, sources, targets] = values * (codes != NONE).astype(values.dtype)[:, None]
        return out

    # costs -----------------------------------------------------------------------------------------------------

    def costs(self, codes: np.ndarray) -> Costs:
        flops = np.zeros((len(codes), STAGES, len(EDGES)), dtype=np.int64)
        params = np.zeros_like(flops)
        for stage in range(STAGES):
            width, area = self._stage(stage)
            flop_of, param_of = np.zeros((2, len(OPS)), dtype=np.int64)
            for op, kernel in ((CONV1, 1), (CONV3, 3)):
                weights = width * width * kernel * kernel
                flop_of[op] = (weights + 2 * width) * area
                param_of[op] = weights + 2 * width
            flops[:, stage] = flop_of[codes]
            params[:, stage] = param_of[codes]
        return Costs(flops.repeat(self.cells_per_stage, axis=1), params.repeat(self.cells_per_stage, axis=1))

    def total_costs(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cell = self.costs(codes)
        width, area = self._stage(0)
        stem = 3 * width * 9
        flops, params = (stem + 2 * width) * area, stem + 2 * width
        for stage in range(1, STAGES):  # residual block: two 3x3 convolutions with batch norm, 1x1 shortcut without
            width, area = self._stage(stage)
            weights = (width // 2) * width * 9 + width * width * 9 + (width // 2) * width
            flops += (weights + 4 * width) * area
            params += weights + 4 * width
        # last batch norm, global pooling (one addition an element), classifier (its bias is not counted as FLOPs)
        flops += 3 * width * area + width * self.num_classes
        params += 2 * width + (width + 1) * self.num_classes
        return cell.flops.sum((1, 2)) + flops, cell.params.sum((1, 2)) + params

    def _stage(self, stage: int) -> tuple[int, int]:
        """Channels and pixels of a stage."""
        side = self.image_size // 2**stage
        return self.channels * 2**stage, side * side


@lru_cache(maxsize=1)
def _plainest_codes() -> np.ndarray:
    """(15625, 6) uint8: the canonical code of every cell, by its code read as a number."""
    space = NasBench201()
    codes = space.live_codes(space.all_codes())
    order = np.lexsort((*codes.T[::-1], (codes != NONE).sum(1)))
    keys = [space.canonical_key(space.from_code(code)) for code in codes]
    plainest: dict[str, int] = {}
    for row in order.tolist():
        plainest.setdefault(keys[row], row)
    return codes[[plainest[key] for key in keys]]
