"""Graph features of any cell: what lies on its paths, how its operations are joined, what it costs.

The idea of GRAF (Kadlecová et al., ICML 2024): plain properties of the graph that predict well with few labels and can
be read by people. A space gives its graphs once (`SearchSpace.cell_graphs`) and all features follow from them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from common.encoding.base import EncodedFeatures, Encoding, FeatureSource
from common.encoding.cache import CachedFeatures
from common.spaces.base import SearchSpace
from common.spaces.graphs import ABSENT, CellGraphs

if TYPE_CHECKING:
    from common.benchmarks.table import BenchmarkTable

ROWS = 16_384  # architectures worked on at once: their arrays stay in the processor's cache
CACHED_FROM = 100_000  # architectures, which take seconds
FAR = 1000  # longer than any path

# Kinds of columns by their names, for predictors that weigh kinds; what fits none is a kind of its own.
KINDS = {
    "costs": "^log ",
    "numbers": r"\bnumber of ",
    "least on a path": r"\bleast .* on a path$",
    "most on a path": r"\bmost .* on a path$",
    "total on paths": r"\btotal .* on paths$",
    "paths of a set alone": " alone$",
    "edges between operations": " -> ",
    "paths and lengths": r"\b(paths|shortest path|longest path)$",
    "depth": r"\bway (from|to) ",
    "degrees": r"\bedges (in|out)\b",
    "places": r" at \d+$",
}

Columns = dict[str, np.ndarray]  # (N,) each, by name


class GraphFeatures(Encoding):
    """(N, D) float32 named columns, equal for isomorphic architectures and finite.

    For every kind of cell the space has, and for every operation and set of operations that belong together:
    the least, the most and the total number of them along the paths from input to output; how many paths consist of
    them alone, and the length of the shortest and the longest such path. Further how many there are of each operation,
    the edges between pairs of operations, the edges into and out of each and how far each lies from the input and from
    the output (in edges, the shortest and the longest way), the number of paths and their lengths (in operations), and
    the logarithms of the network's FLOPs and parameters. Of a chain, which is its only path: the operations by place,
    by stage and in all, and which follow which. Spaces that do not tell their graphs have their one-hot code and the
    costs, if known.
    """

    name = "graph"

    def encode(self, space: SearchSpace, codes: np.ndarray) -> np.ndarray:
        parts = [_stacked(_columns(space, codes[start : start + ROWS])) for start in range(0, len(codes), ROWS)]
        return np.concatenate(parts) if parts else np.empty((0, len(self.columns(space))), dtype=np.float32)

    def source(self, table: BenchmarkTable) -> FeatureSource:
        """Those of CACHED_FROM architectures and more are kept in a file (common/encoding/cache.py)."""
        source = super().source(table)
        if isinstance(source, EncodedFeatures) and len(source) >= CACHED_FROM:
            return CachedFeatures(source)
        return source

    def columns(self, space: SearchSpace) -> list[str]:
        return [*_columns(space, space.to_codes([space.sample(np.random.default_rng(0))]))]

    def groups(self, space: SearchSpace) -> np.ndarray:
        """The place in KINDS that each column's name has."""
        patterns = [re.compile(pattern) for pattern in KINDS.values()]
        kinds = [[bool(pattern.search(column)) for pattern in patterns] for column in self.columns(space)]
        return np.array([kind.index(True) if any(kind) else len(patterns) for kind in kinds], dtype=np.int64)


def _columns(space: SearchSpace, codes: np.ndarray) -> Columns:
    codes = space.canonical_codes(codes)
    found: Columns = {}
    if space.knows_costs:
        flops, params = space.total_costs(codes)
        found = {"log FLOPs": np.log(np.maximum(flops, 1)), "log params": np.log(np.maximum(params, 1))}
    cells = space.cell_graphs(codes)
    for cell in cells:
        made = chain_features(cell) if cell.edges is None else graph_features(cell)
        prefix = f"{cell.name}: " if cell.name else ""
        found |= {prefix + name: values for name, values in made.items()}
    if not cells:
        found |= {f"choice {column}": values for column, values in enumerate(space.one_hot(codes).T)}
    return found


def _stacked(columns: Columns) -> np.ndarray:
    return np.stack([*columns.values()], axis=1, dtype=np.float32, casting="same_kind")


# chains --------------------------------------------------------------------------------------------------------------


def chain_features(cell: CellGraphs) -> Columns:
    """A chain is its own only path: operations by place, by stage and in all, and which follow which."""
    labels = cell.labels
    found = _by_place(cell)
    members = cell.members()
    stages = np.split(np.arange(labels.shape[1]), np.cumsum(cell.stages)[:-1]) if cell.stages else []
    is_member = {name: flags[labels] & (labels != ABSENT) for name, flags in members.items()}
    is_member["any"] = labels != ABSENT
    for name, flags in is_member.items():
        found[f"number of {name}"] = flags.sum(1)
        if len(stages) > 1:
            for number, stage in enumerate(stages, start=1):
                found[f"number of {name} in stage {number}"] = flags[:, stage].sum(1)
    before, after = _joined_pairs(labels)
    for a, first in enumerate(cell.operations):
        for b, second in enumerate(cell.operations):
            found[f"{first} -> {second}"] = ((before == a) & (after == b)).sum(1)
    return found


def _joined_pairs(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N, V - 1) of all vertices of a chain that are there and have one behind them, and of the next one."""
    order = np.argsort(labels == ABSENT, axis=1, kind="stable")
    together = np.take_along_axis(labels, order, axis=1)
    return np.where(together[:, 1:] == ABSENT, ABSENT, together[:, :-1]), together[:, 1:]


def _by_place(cell: CellGraphs) -> Columns:
    return {
        f"{operation} at {place}": labels == index
        for place, labels in enumerate(cell.labels.T)
        for index, operation in enumerate(cell.operations)
    }


# graphs --------------------------------------------------------------------------------------------------------------


def graph_features(cell: CellGraphs) -> Columns:
    """See GraphFeatures; a cell without a path from input to output has 0 in all columns of paths."""
    assert cell.edges is not None
    walk = _Walk(cell.edges, len(cell.inputs))
    members = cell.members()
    # (sets, V, N) bool: which vertices are of which set; inputs and output are of none.
    sets = np.stack([flags[cell.labels] & (cell.labels != ABSENT) for flags in members.values()]).transpose(0, 2, 1)

    forward, backward = walk.count(), walk.count(backward=True)
    paths = forward[-1]
    there = np.pad((cell.labels != ABSENT).T, ((walk.inputs, 1), (0, 0)))[None]  # the vertices that count as length
    lengths = walk.extremes(there)
    summed = walk.depths() | walk.degrees()
    found: Columns = {"paths": paths, "shortest path": lengths[0][0], "longest path": lengths[1][0]}

    inner = np.pad(sets, ((0, 0), (walk.inputs, 1), (0, 0)))
    least, most = walk.extremes(inner)
    through = forward * backward  # paths through every vertex
    alone = walk.count(blocked=there & ~inner)[:, -1]
    lone_least, lone_most = walk.extremes(inner, blocked=there & ~inner)
    for row, name in enumerate(members):
        flags = inner[row]
        found |= {
            f"least {name} on a path": least[row],
            f"most {name} on a path": most[row],
            f"total {name} on paths": (through * flags).sum(0),
            f"paths of {name} alone": alone[row],
            f"shortest path of {name} alone": lone_least[row],
            f"longest path of {name} alone": lone_most[row],
        }
        if members[name].sum() == 1:
            found[f"number of {name}"] = flags.sum(0)
            found |= {f"{what}, sum over {name}": (values * flags).sum(0) for what, values in summed.items()}
    for what in ("edges in", "edges out"):
        found |= {f"vertices of {number} {what}": (summed[what] == number).sum(0) for number in range(1, 4)}
    return found | _pairs(cell, walk)


def _pairs(cell: CellGraphs, walk: _Walk) -> Columns:
    """Numbers of edges between operations, from the inputs and into the output."""
    names = [*cell.inputs, *cell.operations, "output"]
    first = len(cell.inputs)
    labels = np.full((walk.vertices, walk.count_rows), ABSENT, dtype=np.int8)
    labels[:first] = np.arange(first)[:, None]
    labels[first:-1] = np.where(cell.labels.T == ABSENT, ABSENT, cell.labels.T + first)
    labels[-1] = len(names) - 1
    found = np.zeros((len(names) ** 2, walk.count_rows), dtype=np.int16)
    columns = np.arange(walk.count_rows)
    for u, v in walk.places:
        pair = labels[u].astype(np.int64) * len(names) + labels[v]
        there = walk.edges[u, v]
        found[pair[there], columns[there]] += 1
    return {
        f"{names[a]} -> {names[b]}": found[a * len(names) + b]
        for a in range(len(names) - 1)
        for b in range(first, len(names))
    }


class _Walk:
    """Sums and extremes over all paths from the inputs to the output of N graphs, vertex by vertex.

    Vertices stand in the order of the edges, so whatever leads to a vertex is known before it is looked at.
    """

    def __init__(self, edges: np.ndarray, inputs: int) -> None:
        """edges: (N, V, V) bool, upper triangular."""
        self.edges = np.ascontiguousarray(edges.transpose(1, 2, 0))
        self.inputs = inputs
        self.vertices, _, self.count_rows = self.edges.shape
        # Pairs of vertices that are joined in some graph, by target and then by source.
        self.places = [(u, v) for v in range(self.vertices) for u in range(v) if self.edges[u, v].any()]

    def count(self, blocked: np.ndarray | None = None, backward: bool = False) -> np.ndarray:
        """([sets,] V, N) numbers of paths from the inputs to each vertex (backward: from it to the output).

        blocked: (sets, V, N) vertices that no path may touch.
        """
        shape = self.edges.shape[1:] if blocked is None else blocked.shape
        found = np.zeros(shape, dtype=np.int32)
        if backward:
            found[-1] = 1
            for u, v in reversed(self.places):
                found[u] += found[v] * self.edges[u, v]
            return found
        found[..., : self.inputs, :] = 1
        for u, v in self.places:
            step = found[..., u, :] * self.edges[u, v]
            found[..., v, :] += step if blocked is None else step * ~blocked[:, v]
        return found

    def degrees(self) -> dict[str, np.ndarray]:
        """(V, N) int8 each, by name: the numbers of edges into and out of every vertex."""
        return {"edges in": self.edges.sum(0, dtype=np.int8), "edges out": self.edges.sum(1, dtype=np.int8)}

    def depths(self) -> dict[str, np.ndarray]:
        """(V, N) int16 each, by name: the least and the most edges from an input to a vertex, and on to the output."""
        shape = self.edges.shape[1:]
        found: dict[str, np.ndarray] = {}
        for end in ("from input", "to output"):
            least, most = np.full(shape, FAR, dtype=np.int16), np.full(shape, -FAR, dtype=np.int16)
            first = slice(self.inputs) if end == "from input" else slice(-1, None)
            least[first] = most[first] = 0
            for u, v in self.places if end == "from input" else ((v, u) for u, v in reversed(self.places)):
                barred = np.where(self.edges[min(u, v), max(u, v)], np.int16(1), np.int16(FAR))
                np.minimum(least[v], least[u] + barred, out=least[v])
                np.maximum(most[v], most[u] + np.where(barred == 1, barred, -FAR).astype(np.int16), out=most[v])
            found |= {f"shortest way {end}": least * (least < FAR), f"longest way {end}": most * (most > 0)}
        return found

    def extremes(self, weights: np.ndarray, blocked: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(sets, N) the least and the most that weights (sets, V, N) sum up to on a path to the output; 0 without."""
        least = np.full(weights.shape, FAR, dtype=np.int16)
        most = np.full(weights.shape, -FAR, dtype=np.int16)
        least[:, : self.inputs] = most[:, : self.inputs] = 0
        ends = [*dict.fromkeys(v for _, v in self.places)]
        for v in ends:
            for u in (u for u, target in self.places if target == v):
                barred = np.where(self.edges[u, v], np.int16(0), np.int16(FAR))
                np.minimum(least[:, v], least[:, u] + barred, out=least[:, v])
                np.maximum(most[:, v], most[:, u] - barred, out=most[:, v])
            least[:, v] += weights[:, v]
            most[:, v] += weights[:, v]
            if blocked is not None:
                least[:, v][blocked[:, v]] = FAR
                most[:, v][blocked[:, v]] = -FAR
            np.minimum(least[:, v], FAR, out=least[:, v])
            np.maximum(most[:, v], -FAR, out=most[:, v])
        reached = most[:, -1] >= 0
        return least[:, -1] * reached, most[:, -1] * reached
