"""NAS-Bench-101: cells of at most 7 vertices and 9 edges, operations on the vertices (Ying et al., ICML 2019)."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np

from common.errors import InputError
from common.spaces.base import Costs, SpaceExhausted, TensorSpace
from common.spaces.graphs import CellGraphs
from common.spaces.sketch import Block, Graph, Sketch, operation

INPUT, OUTPUT = "input", "output"
OPS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")  # in the order of the official hash's labels 0, 1, 2
MAX_VERTICES = 7
MAX_EDGES = 9
STACKS = 3
MODULES_PER_STACK = 3

UPPER = np.triu_indices(MAX_VERTICES, 1)  # the 21 possible edges, row by row
NUM_EDGES = len(UPPER[0])
INNER = MAX_VERTICES - 2
# Type numbers of the feature tensor, by operation code: a vertex that is not there, conv3x3, conv1x1, maxpool3x3.
# The paper does not print its numbers; standardisation makes the predictor indifferent to all but their order.
INNER_TYPES = np.array([0, 3, 2, 4])
INPUT_TYPE, OUTPUT_TYPE = 1, 5

_KERNEL = {0: 3, 1: 1}  # index in OPS -> side of the convolution


@dataclass(frozen=True)
class Cell101:
    """A NAS-Bench-101 cell: an upper triangular adjacency matrix (rows of 0/1) and the inner vertices' operations.

    It may hold vertices that are on no path from input to output (`pruned` drops them), and then more than 9 edges.
    """

    matrix: tuple[tuple[int, ...], ...]
    ops: tuple[int, ...]  # index into OPS of vertices 1 .. V-2

    def __post_init__(self) -> None:
        n = len(self.matrix)
        if not 2 <= n <= MAX_VERTICES or any(len(row) != n for row in self.matrix):
            raise ValueError(f"need a square matrix of 2 to {MAX_VERTICES} rows, got {[*map(len, self.matrix)]}")
        if any(self.matrix[i][j] not in ((0, 1) if j > i else (0,)) for i in range(n) for j in range(n)):
            raise ValueError(f"need 0/1 above the diagonal and 0 elsewhere, got {self.matrix}")
        if len(self.ops) != n - 2 or any(not 0 <= op < len(OPS) for op in self.ops):
            raise ValueError(f"need {n - 2} operation indices in [0, {len(OPS)}), got {self.ops}")

    @property
    def num_vertices(self) -> int:
        return len(self.matrix)

    @property
    def num_edges(self) -> int:
        return sum(map(sum, self.matrix))

    def pruned(self) -> Cell101 | None:
        """The cell without vertices off every input-output path; None when there is no such path."""
        return _pruned(self)


@dataclass(frozen=True)
class NasBench101(TensorSpace[Cell101]):
    """The space with its skeleton: stem, 3 stacks of 3 cells, channels doubling and sides halving between stacks.

    FLOPs are 2 per multiply-accumulate of a convolution (batch norm not counted, input projections counted at the
    vertex they feed), 9 per output element of a pooling, 1 per addition where a vertex sums several inputs.
    Parameters include the two of each batch-norm channel.
    """

    channels: int = 128  # of the stem and the first stack
    num_classes: int = 10
    image_size: int = 32

    name: ClassVar[str] = "nasbench101"
    title: ClassVar[str] = "NAS-Bench-101"
    code_length: ClassVar[int] = NUM_EDGES + INNER
    size: ClassVar[int | None] = 423_624
    choices: ClassVar[int] = 1 + len(OPS)
    num_vertices: ClassVar[int] = MAX_VERTICES
    network_options: ClassVar[tuple[str, ...]] = ("channels",)
    num_cells: int = field(default=STACKS * MODULES_PER_STACK, init=False)

    # text ------------------------------------------------------------------------------------------------------

    def parse(self, text: str) -> Cell101:
        """From the tfrecord's own form, joined by a colon: `0100..:input,conv3x3-bn-relu,...,output`."""
        adjacency, _, operations = text.strip().partition(":")
        return self.from_raw(adjacency, operations)

    def from_raw(self, adjacency: str, operations: str) -> Cell101:
        """From `raw_adjacency` (V*V digits, row by row) and `raw_operations` (comma-separated) of the tfrecord."""
        n = math.isqrt(len(adjacency))
        names = operations.split(",")
        if n * n != len(adjacency) or not 2 <= n <= MAX_VERTICES or set(adjacency) - {"0", "1"}:
            raise InputError(f"not a {self.title} cell: adjacency {adjacency!r} is not V*V digits 0/1 with V in 2..7")
        if len(names) != n or names[0] != INPUT or names[-1] != OUTPUT or set(names[1:-1]) - set(OPS):
            raise InputError(
                f"not a {self.title} cell: {n} operations input,...,output with inner ones of {', '.join(OPS)} "
                f"needed, got {operations!r}"
            )
        matrix = tuple(tuple(int(digit) for digit in adjacency[i * n : (i + 1) * n]) for i in range(n))
        if any(matrix[i][j] for i in range(n) for j in range(i + 1)):
            raise InputError(f"not a {self.title} cell: adjacency {adjacency!r} is not upper triangular")
        arch = Cell101(matrix, tuple(OPS.index(name) for name in names[1:-1]))
        if not self.is_valid(arch):
            raise InputError(
                f"not a {self.title} cell: {adjacency!r} has no path from input to output or over {MAX_EDGES} edges"
            )
        return arch

    def format(self, arch: Cell101) -> str:
        adjacency = "".join(str(bit) for row in arch.matrix for bit in row)
        return f"{adjacency}:{','.join((INPUT, *(OPS[op] for op in arch.ops), OUTPUT))}"

    def sketches(self, arch: Cell101) -> list[Sketch]:
        """The vertices on a way from the input to the output."""
        cell = arch.pruned()
        if cell is None:
            return [Graph({"0": Block("input", "end"), "1": Block("output", "end")}, ())]
        last = cell.num_vertices - 1
        inner = {str(v): operation(OPS[op]) for v, op in enumerate(cell.ops, start=1)}
        nodes = {"0": Block("input", "end"), **inner, str(last): Block("output", "end")}
        edges = [(str(i), str(j)) for i in range(last) for j in range(last + 1) if cell.matrix[i][j]]
        return [Graph(nodes, edges)]

    # walking ---------------------------------------------------------------------------------------------------

    def is_valid(self, arch: Cell101) -> bool:
        """Whether the pruned cell exists and has at most 9 edges (the benchmark's own rule)."""
        pruned = arch.pruned()
        return pruned is not None and pruned.num_edges <= MAX_EDGES

    def sample(self, rng: np.random.Generator) -> Cell101:
        """Nine of the 21 edges over 7 vertices and any operations, drawn until input and output are connected.

        (The benchmark's own random search flips a coin for every edge: 3 in 1,000 of its valid cells keep all 7
        vertices, against 14 in 1,000 here and 85 % of the space.)
        """
        for _ in range(10_000):  # nine draws in ten are valid
            matrix = np.zeros((MAX_VERTICES, MAX_VERTICES), dtype=int)
            edges = rng.choice(NUM_EDGES, size=MAX_EDGES, replace=False)
            matrix[UPPER[0][edges], UPPER[1][edges]] = 1
            arch = Cell101(_rows(matrix), tuple(rng.integers(len(OPS), size=INNER).tolist()))
            if self.is_valid(arch):
                return arch
        raise SpaceExhausted("no valid cell in 10,000 draws")

    def mutate(self, arch: Cell101, rng: np.random.Generator) -> Cell101:
        """Flips one edge and changes one operation on average, drawn until valid and not isomorphic to `arch`.

        A cell of fewer than 7 vertices is first padded before its output with unconnected vertices, so it can grow.
        """
        matrix, ops = _pad(arch)
        key = self.canonical_key(arch)
        for _ in range(10_000):
            flips = rng.random(NUM_EDGES) < 1 / NUM_EDGES
            changes = rng.random(INNER) < 1 / INNER
            new_matrix = matrix.copy()
            new_matrix[UPPER] ^= flips
            new_ops = np.where(changes, (ops + rng.integers(1, len(OPS), size=INNER)) % len(OPS), ops)
            mutant = Cell101(_rows(new_matrix), tuple(new_ops.tolist()))
            if self.is_valid(mutant) and self.canonical_key(mutant) != key:
                return mutant
        raise SpaceExhausted(f"no valid mutant of {self.format(arch)} in 10,000 draws")

    def neighbours(self, arch: Cell101) -> list[Cell101]:
        """One edge flipped or one operation changed, in `arch` as it is written and in its pruned form."""
        found = {self.canonical_key(arch): arch}
        for cell in filter(None, (arch, arch.pruned())):
            for edit in _edits(cell):
                if self.is_valid(edit):
                    found.setdefault(self.canonical_key(edit), edit)
        return list(found.values())[1:]

    # identity --------------------------------------------------------------------------------------------------

    def canonical_key(self, arch: Cell101) -> str:
        """The official MD5 graph hash of the pruned cell. Raises ValueError when input and output are not connected."""
        pruned = arch.pruned()
        if pruned is None:
            raise ValueError(f"no path from input to output in {self.format(arch)}")
        return graph_hash(pruned.matrix, pruned.ops)

    def reaches_output(self, arch: Cell101) -> bool:
        return arch.pruned() is not None

    # arrays ----------------------------------------------------------------------------------------------------

    def to_codes(self, archs: Sequence[Cell101]) -> np.ndarray:
        """(N, 26) uint8 of the pruned cells, padded to 7 vertices before the output.

        21 columns: the upper triangle of the adjacency, row by row; 5 columns: the inner vertices' operations, 0 for
        a vertex that is not there, else 1 + the index in OPS.
        """
        codes = np.zeros((len(archs), self.code_length), dtype=np.uint8)
        for row, arch in enumerate(archs):
            pruned = arch.pruned()
            if pruned is None:
                raise ValueError(f"no path from input to output in {self.format(arch)}")
            codes[row, :NUM_EDGES] = _pad(pruned)[0][UPPER]
            codes[row, NUM_EDGES : NUM_EDGES + len(pruned.ops)] = np.array(pruned.ops, dtype=np.uint8) + 1
        return codes

    def from_code(self, code: np.ndarray) -> Cell101:
        ops = code[NUM_EDGES:]
        inner = int((ops > 0).sum())
        keep = [*range(inner + 1), MAX_VERTICES - 1]
        return Cell101(_rows(adjacency(code[None])[0][np.ix_(keep, keep)]), tuple((ops[:inner] - 1).tolist()))

    def canonical_codes(self, codes: np.ndarray) -> np.ndarray:
        """The lexicographically smallest of the isomorphic codes: its edges, then its operations.

        Costs depend on how a cell is written: the first vertices before the output take a division's rest.
        """
        found = codes.copy()
        inner = (codes[:, NUM_EDGES:] > 0).sum(1)
        for count in np.unique(inner).tolist():
            orders, weights = _orders(count)
            rows = np.flatnonzero(inner == count)
            order = orders[(codes[rows] @ weights).argmin(1)]  # (n, 7): the new place of every vertex
            edges = np.zeros((len(rows), MAX_VERTICES, MAX_VERTICES), dtype=codes.dtype)
            edges[np.arange(len(rows))[:, None, None], order[:, :, None], order[:, None, :]] = adjacency(codes[rows])
            ops = np.zeros((len(rows), MAX_VERTICES), dtype=codes.dtype)
            np.put_along_axis(ops[:, 1:-1], order[:, 1:-1] - 1, codes[rows, NUM_EDGES:], axis=1)
            found[rows] = np.concatenate([edges[:, UPPER[0], UPPER[1]], ops[:, 1:-1]], axis=1)
        return found

    def cell_graphs(self, codes: np.ndarray) -> list[CellGraphs]:
        """The cell itself."""
        labels = codes[:, NUM_EDGES:].astype(np.int8) - 1
        return [CellGraphs(OPS, labels, adjacency(codes) > 0, sets={"conv": OPS[:2]})]

    def one_hot(self, codes: np.ndarray) -> np.ndarray:
        """(N, 21 + 5*4) float32: edges as 0/1, then per inner vertex absent or one of OPS."""
        ops = np.eye(self.choices, dtype=np.float32)[codes[:, NUM_EDGES:]].reshape(len(codes), INNER * self.choices)
        return np.concatenate([codes[:, :NUM_EDGES].astype(np.float32), ops], axis=1)

    def types(self, codes: np.ndarray) -> np.ndarray:
        """1 input, 2 conv1x1, 3 conv3x3, 4 maxpool, 5 output, 0 for a vertex that is not there."""
        types = np.empty((len(codes), MAX_VERTICES), dtype=np.int64)
        types[:, 0], types[:, -1] = INPUT_TYPE, OUTPUT_TYPE
        types[:, 1:-1] = INNER_TYPES[codes[:, NUM_EDGES:]]
        return types

    def edge_matrices(self, codes: np.ndarray, values: np.ndarray) -> np.ndarray:
        return adjacency(codes).astype(values.dtype)[:, None] * values[:, :, None, :]

    # costs -----------------------------------------------------------------------------------------------------

    def costs(self, codes: np.ndarray) -> Costs:
        edges = adjacency(codes).astype(np.int64)
        ops = codes[:, NUM_EDGES:].astype(np.int64)
        made = {shape: _cell_costs(edges, ops, *shape) for shape in set(self._cell_shapes)}
        flops, params = (np.stack([made[shape][part] for shape in self._cell_shapes], axis=1) for part in (0, 1))
        return Costs(flops, params)

    def total_costs(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cell = self.costs(codes)
        width, area = self._cell_shapes[-1][1:]
        stem = 3 * self.channels * 9
        # stem, down-sampling (4 per output element), global pooling (1 per input element), dense layer with its bias
        flops = 2 * stem * self.image_size**2 + width * area + (2 * width + 1) * self.num_classes
        flops += sum(
            4 * width_in * area for width_in, width_out, area in self._cell_shapes[1:] if width_in != width_out
        )
        params = stem + 2 * self.channels + (width + 1) * self.num_classes
        return cell.flops.sum((1, 2)) + flops, cell.params.sum((1, 2)) + params

    @cached_property
    def _cell_shapes(self) -> list[tuple[int, int, int]]:
        """Channels in, channels out and output pixels of the nine cells."""
        shapes = []
        width_in = self.channels
        for stack in range(STACKS):
            width, side = self.channels * 2**stack, self.image_size // 2**stack
            for _ in range(MODULES_PER_STACK):
                shapes.append((width_in, width, side * side))
                width_in = width
        return shapes


@lru_cache(maxsize=INNER + 1)
def _orders(inner: int) -> tuple[np.ndarray, np.ndarray]:
    """All orders of the first `inner` inner vertices, (orders, 7) new places, and weights (26, orders).

    A code times an order's weights is the reordered code read as a number, larger than any such number where an edge
    would turn back.
    """
    places = [(0, *order, *range(inner + 1, MAX_VERTICES)) for order in itertools.permutations(range(1, inner + 1))]
    orders = np.array(places)
    labellings = (1 + len(OPS)) ** np.arange(INNER)[::-1]
    number = np.full((MAX_VERTICES, MAX_VERTICES), 1 << (NUM_EDGES + 1), dtype=np.float64)
    number[UPPER] = 1 << np.arange(NUM_EDGES)[::-1]
    number *= len(OPS) * labellings.sum() + 1  # the edges decide first; all sums are exact in float64
    weights = np.concatenate(
        [number[orders[:, UPPER[0]], orders[:, UPPER[1]]], labellings[orders[:, 1:-1] - 1]], axis=1
    )
    return orders, np.ascontiguousarray(weights.T, dtype=np.float64)


@lru_cache(maxsize=2**16)  # search and its bookkeeping ask for the same cells again and again
def _pruned(cell: Cell101) -> Cell101 | None:
    n = cell.num_vertices
    forward, backward = {0}, {n - 1}
    for i in range(n):
        if i in forward:
            forward |= {j for j in range(n) if cell.matrix[i][j]}
    for j in reversed(range(n)):
        if j in backward:
            backward |= {i for i in range(n) if cell.matrix[i][j]}
    keep = sorted(forward & backward)
    if 0 not in keep or n - 1 not in keep:
        return None
    if len(keep) == n:
        return cell
    matrix = tuple(tuple(cell.matrix[i][j] for j in keep) for i in keep)
    return Cell101(matrix, tuple(cell.ops[v - 1] for v in keep[1:-1]))


@lru_cache(maxsize=2**16)
def graph_hash(matrix: tuple[tuple[int, ...], ...], ops: tuple[int, ...]) -> str:
    """The official MD5 hash of a pruned cell: equal for isomorphic cells, 32 hex digits.

    Every vertex starts from md5 of (out-degree, in-degree, label), labels being -1 for the input, -2 for the output and
    the index in OPS otherwise; V rounds mix in the sorted hashes of the in- and of the out-neighbours.
    """
    n = len(matrix)
    sources = [[i for i in range(n) if matrix[i][v]] for v in range(n)]
    targets = [[j for j in range(n) if matrix[v][j]] for v in range(n)]
    labels = (-1, *ops, -2)
    hashes = [_md5(str((len(targets[v]), len(sources[v]), labels[v]))) for v in range(n)]
    for _ in range(n):
        hashes = [
            _md5(
                "".join(sorted([hashes[w] for w in sources[v]]))
                + "|"
                + "".join(sorted([hashes[w] for w in targets[v]]))
                + "|"
                + hashes[v]
            )
            for v in range(n)
        ]
    return _md5(str(sorted(hashes)))


def vertex_channels(edges: np.ndarray, width_in: int, width: int) -> np.ndarray:
    """(N, 7) int64 channels of every vertex of padded cells (0 for absent ones).

    The output's channels are divided over the inner vertices that feed it, the first ones taking one more where the
    division leaves a rest; any other inner vertex takes the largest width among the inner vertices that it feeds.
    """
    channels = np.zeros(edges.shape[:2], dtype=np.int64)
    channels[:, 0], channels[:, -1] = width_in, width
    feeds = edges[:, 1:-1, -1]
    fan_in = np.maximum(feeds.sum(1), 1)[:, None]
    share = width // fan_in + (np.cumsum(feeds, axis=1) <= width % fan_in)
    channels[:, 1:-1] = share * feeds
    for v in range(MAX_VERTICES - 3, 0, -1):
        inherited = (edges[:, v, 1:-1] * channels[:, 1:-1]).max(1)
        channels[:, v] = np.where(feeds[:, v - 1] > 0, channels[:, v], inherited)
    return channels


def adjacency(codes: np.ndarray) -> np.ndarray:
    """(N, 7, 7) uint8 adjacency matrices of codes."""
    edges = np.zeros((len(codes), MAX_VERTICES, MAX_VERTICES), dtype=np.uint8)
    edges[:, UPPER[0], UPPER[1]] = codes[:, :NUM_EDGES]
    return edges


def _cell_costs(
    edges: np.ndarray, ops: np.ndarray, width_in: int, width: int, area: int
) -> tuple[np.ndarray, np.ndarray]:
    """FLOPs and parameters (N, 7) of every vertex of one cell."""
    channels = vertex_channels(edges, width_in, width)
    flops = np.zeros_like(channels)
    params = np.zeros_like(channels)
    inner = channels[:, 1:-1]
    for index, kernel in _KERNEL.items():
        is_op = ops == index + 1
        weights = inner * inner * kernel * kernel
        flops[:, 1:-1] += is_op * 2 * weights * area
        params[:, 1:-1] += is_op * (weights + 2 * inner)
    flops[:, 1:-1] += (ops == OPS.index("maxpool3x3") + 1) * 9 * inner * area
    projected = edges[:, 0] * channels  # channels of the 1x1 projection that an edge from the input needs
    flops += 2 * width_in * projected * area
    params += (width_in + 2) * projected
    sums = np.maximum(edges.sum(1) - 1, 0)
    # The output concatenates the inner vertices and adds the input's projection, if there is one, to the whole.
    sums[:, -1] = edges[:, 0, -1] * (edges[:, 1:-1, -1].sum(1) > 0)
    return flops + sums * channels * area, params


def _edits(cell: Cell101) -> Iterator[Cell101]:
    """All cells, valid or not, with one edge flipped or one operation changed."""
    matrix = np.array(cell.matrix)
    for i, j in zip(*np.triu_indices(cell.num_vertices, 1), strict=True):
        flipped = matrix.copy()
        flipped[i, j] ^= 1
        yield Cell101(_rows(flipped), cell.ops)
    for v, old in enumerate(cell.ops):
        for op in range(len(OPS)):
            if op != old:
                yield Cell101(cell.matrix, (*cell.ops[:v], op, *cell.ops[v + 1 :]))


def _pad(arch: Cell101) -> tuple[np.ndarray, np.ndarray]:
    """The (7, 7) matrix and 5 operations of a cell, unconnected conv3x3 vertices inserted before the output."""
    n = arch.num_vertices
    keep = [*range(n - 1), MAX_VERTICES - 1]
    matrix = np.zeros((MAX_VERTICES, MAX_VERTICES), dtype=np.int64)
    matrix[np.ix_(keep, keep)] = arch.matrix
    return matrix, np.array([*arch.ops, *[0] * (MAX_VERTICES - n)], dtype=np.int64)


def _rows(matrix: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(map(tuple, matrix.tolist()))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
