"""The DARTS space: a normal and a reduction cell of four nodes, two operations into each (Liu et al., ICLR 2019)."""

from __future__ import annotations

import ast
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from common.errors import InputError
from common.spaces.base import SearchSpace, SpaceExhausted
from common.spaces.graphs import ABSENT, CellGraphs
from common.spaces.sketch import Block, Graph, Sketch, with_operations_on_edges

OPS = (
    "none", "max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3",
    "dil_conv_5x5",
)  # fmt: skip
NONE, MAX_POOL, AVG_POOL, SKIP, SEP3, SEP5, DIL3, DIL5 = range(len(OPS))
KERNELS = {SEP3: 3, SEP5: 5, DIL3: 3, DIL5: 5}
REAL_OPS = range(1, len(OPS))
INPUTS = 2  # nodes 0 and 1: the outputs of the two cells before
NODES = range(INPUTS, 6)  # each the sum of two operations; all four together are the cell's output
EDGES = tuple((source, node) for node in NODES for source in range(node))  # the 14 rows of the sampler's code
EDGE_INDEX = {edge: index for index, edge in enumerate(EDGES)}
SOURCES = np.array([source for source, _ in EDGES])
FROM_INPUT = SOURCES < INPUTS
SOURCE_PAIRS = [list(itertools.combinations(range(node), 2)) for node in NODES]
PARTS = ("normal", "normal_concat", "reduce", "reduce_concat")  # of the text form
IMAGENET_STEM_ABOVE = 64  # pixels: larger images are halved three times by the stem, as in DARTS' ImageNet network
MIN_LAYERS = 3  # below, there is no cell before each of the two reductions to tap
LONGEST_TEXT = 4000  # characters; a genotype has some 450, and a parser can be brought down by far longer texts

Cell = tuple[tuple[int, int], ...]


class EdgeState(NamedTuple):
    """What an edge carries: its operations, and whether it is named before the other edge of its node.

    That is only said (True) where it is not the order of the sources, so that codes keep the order of a genotype's
    pairs, and the usual order has the usual numbers.
    """

    ops: tuple[int, ...]
    first: bool = False


# What an entry of a code means. 0: no edge; 1 to 7: that operation of OPS, and these are all that random genotypes
# have; the rest is what tables of genotypes hold besides: `none` operations, and both operations from one source.
STATES = (
    EdgeState(()),
    *(EdgeState((op,)) for op in (*REAL_OPS, NONE)),
    *(EdgeState((op,), first=True) for op in (*REAL_OPS, NONE)),
    *(EdgeState(ops) for ops in itertools.product(range(len(OPS)), repeat=2)),
)
STATE_INDEX = {state: index for index, state in enumerate(STATES)}
# (states, ops): how many of each operation; `none` counts nothing.
COUNTS = np.array([[state.ops.count(op) if op != NONE else 0 for op in range(len(OPS))] for state in STATES])
HOT = (COUNTS[:, 1:] > 0).astype(np.float32)  # (states, 7)


@dataclass(frozen=True)
class Genotype:
    """Normal and reduction cell, each 8 pairs (index in OPS, source node): two for each node 2, 3, 4, 5, in order.

    Pairs of one node may come from one source, or carry `none`: published tables have such cells.
    """

    normal: Cell
    reduce: Cell

    def __post_init__(self) -> None:
        for name, cell in (("normal", self.normal), ("reduce", self.reduce)):
            if len(cell) != 2 * len(NODES):
                raise ValueError(f"{name} has {len(cell)} operations instead of {2 * len(NODES)}")
            for position, (op, source) in enumerate(cell):
                node = INPUTS + position // 2
                if not 0 <= op < len(OPS):
                    raise ValueError(f"{name} has operation {op}, not in [0, {len(OPS)})")
                if not 0 <= source < node:
                    raise ValueError(
                        f"{name} has an operation into node {node} from {source}, not from 0 to {node - 1}"
                    )


class CellPlan(NamedTuple):
    """Where a cell stands: its channels (of one node), those of its two inputs, and where the side is halved."""

    width: int
    width_before: int  # of the cell two before
    width_last: int  # of the last cell
    reduction: bool
    after_reduction: bool  # the input from two before has twice the side
    halvings: int  # of the image's side, at the cell's (later) input


def cell_plan(channels: int, layers: int, imagenet_stem: bool) -> list[CellPlan]:
    """The cells of a network: reductions, of double width, stand at layers//3 and 2*layers//3."""
    plan = []
    width_before = width_last = channels if imagenet_stem else 3 * channels
    width, after_reduction, halvings = channels, imagenet_stem, 3 if imagenet_stem else 0
    for layer in range(layers):
        reduction = layer in (layers // 3, 2 * layers // 3)
        width *= 2 if reduction else 1
        plan.append(CellPlan(width, width_before, width_last, reduction, after_reduction, halvings))
        width_before, width_last, after_reduction = width_last, len(NODES) * width, reduction
        halvings += reduction
    return plan


@dataclass(frozen=True)
class Darts(SearchSpace[Genotype]):
    """The space with its network (search: C=16, 8 cells; CIFAR stem up to 64 pixels a side, ImageNet's above).

    tied: sampled and voted genotypes have one cell as both normal and reduction cell, and the one-hot code is that
    cell's, as RMI-NAS samples them. Genotypes as values, text and codes are the same in both kinds of space.

    A FLOP is one multiply-accumulate of a convolution or of the classifier; batch norms, poolings and additions count
    nothing. Parameters are all trainable ones, two a batch-norm channel. Both are those of the network that is built:
    without auxiliary head, and without the preprocessing of a cell input that no operation takes.
    """

    channels: int = 16
    layers: int = 8
    num_classes: int = 10
    image_size: int = 32
    tied: bool = True

    name: ClassVar[str] = "darts"
    title: ClassVar[str] = "DARTS"
    code_length: ClassVar[int] = 2 * len(EDGES)
    choices: ClassVar[int] = len(STATES)
    network_options: ClassVar[tuple[str, ...]] = ("channels", "layers")

    def __post_init__(self) -> None:
        if self.layers < MIN_LAYERS:
            raise InputError(f"{self.title}: {self.layers} layers; two reductions need {MIN_LAYERS} at least")
        if self.imagenet_stem and self.channels < 2:
            raise InputError(f"{self.title}: 1 channel; the stem for images of {self.image_size} pixels needs 2")
        halvings = 5 if self.imagenet_stem else 2
        if self.image_size % 2**halvings:
            raise InputError(
                f"{self.title}: image size {self.image_size} cannot be halved {halvings} times; "
                f"take a multiple of {2**halvings}"
            )

    @property
    def size(self) -> int:  # type: ignore[override]
        """Genotypes that `sample` may draw: two of the sources of every node, 7 operations on each."""
        cells = math.prod(len(pairs) * len(REAL_OPS) ** 2 for pairs in SOURCE_PAIRS)
        return cells if self.tied else cells**2

    @property
    def imagenet_stem(self) -> bool:
        """Whether the stem halves the side three times."""
        return self.image_size > IMAGENET_STEM_ABOVE

    # text ------------------------------------------------------------------------------------------------------

    def parse(self, text: str) -> Genotype:
        """From `Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=[2, 3, 4, 5], reduce=[...], ...)`.

        The concatenations may also be `range(2, 6)`. The text is taken apart as syntax and never evaluated.
        """
        try:
            return _read_genotype(text)
        except ValueError as error:
            shown = text if len(text) <= 200 else f"{text[:200]}..."
            raise InputError(f"not a {self.title} genotype: {error} in {shown!r}") from None

    def format(self, arch: Genotype) -> str:
        """As published tables have it, with lists for the concatenations."""
        normal, reduce = ([(OPS[op], source) for op, source in cell] for cell in (arch.normal, arch.reduce))
        concat = list(NODES)
        return f"Genotype(normal={normal}, normal_concat={concat}, reduce={reduce}, reduce_concat={concat})"

    def sketches(self, arch: Genotype) -> list[Sketch]:
        """The normal and the reduction cell; once where they are one."""
        cells = {"normal cell": arch.normal, "reduction cell": arch.reduce}
        if arch.normal == arch.reduce:
            cells = {"normal and reduction cell": arch.normal}
        return [_sketch(cell, title) for title, cell in cells.items()]

    # walking ---------------------------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator) -> Genotype:
        """Every node takes two distinct sources, and any of the 7 real operations on each."""
        normal = _random_cell(rng)
        return Genotype(normal, normal if self.tied else _random_cell(rng))

    def mutate(self, arch: Genotype, rng: np.random.Generator) -> Genotype:
        """One operation or one source changes, drawn until the genotype is not isomorphic to `arch`."""
        key, edits = self.canonical_key(arch), self._edits(arch)
        for _ in range(1000):
            mutant = edits[int(rng.integers(len(edits)))]
            if self.canonical_key(mutant) != key:
                return mutant
        raise SpaceExhausted(f"no mutant of {self.format(arch)} in 1,000 draws")

    def neighbours(self, arch: Genotype) -> list[Genotype]:
        """By another real operation, or a source the node does not have; in a tied space in both cells at once."""
        found = {self.canonical_key(arch): arch}
        for near in self._edits(arch):
            found.setdefault(self.canonical_key(near), near)
        return list(found.values())[1:]

    def _edits(self, arch: Genotype) -> list[Genotype]:
        """One edit away, isomorphic ones included. Raises: ValueError for different cells in a tied space."""
        if not self.tied:
            return [
                *(Genotype(cell, arch.reduce) for cell in _cell_edits(arch.normal)),
                *(Genotype(arch.normal, cell) for cell in _cell_edits(arch.reduce)),
            ]
        if arch.normal != arch.reduce:
            raise ValueError(
                f"normal and reduction cell differ in {self.format(arch)}: walk in a space with tied=False"
            )
        return [Genotype(cell, cell) for cell in _cell_edits(arch.normal)]

    # identity --------------------------------------------------------------------------------------------------

    def canonical_key(self, arch: Genotype) -> str:
        """Operations as digits with their sources, nodes numbered in the order that gives the lowest key.

        The order of a node's two operations does not matter, nor the numbering of nodes: it only permutes the channels
        of the cell's output, which the convolutions behind take in any order. `none` vanishes, and so does a skip from
        a node that nothing goes into; two equal operations from one source remain two, with weights of their own.
        """
        normal = _cell_key(arch.normal)
        return f"{normal}/{normal if arch.reduce == arch.normal else _cell_key(arch.reduce)}"

    def reaches_output(self, arch: Genotype) -> bool:
        """Whether the image can influence the last cell: all four nodes are its output, so any edge from an input does.

        Where a reduction cell takes neither input, the cells behind may still be reached past it.
        """
        before = last = True
        for plan in cell_plan(self.channels, self.layers, self.imagenet_stem):
            used = {source for op, source in (arch.reduce if plan.reduction else arch.normal) if op != NONE}
            before, last = last, (0 in used and before) or (1 in used and last)
        return last

    # arrays ----------------------------------------------------------------------------------------------------

    def to_codes(self, archs: Sequence[Genotype]) -> np.ndarray:
        """The states (index in STATES) of the 14 edges of the normal cell, then of the reduction cell."""
        codes = [[*_cell_code(arch.normal), *_cell_code(arch.reduce)] for arch in archs]
        return np.array(codes, dtype=np.uint8).reshape(-1, self.code_length)

    def from_code(self, code: np.ndarray) -> Genotype:
        normal, reduce = (_cell_of(half) for half in code.reshape(2, -1).tolist())
        return Genotype(normal, reduce)

    def cell_graphs(self, codes: np.ndarray) -> list[CellGraphs]:
        """The line graphs of both cells, in a tied space of the one: two operations into each of the four nodes.

        Raises: ValueError for untied codes in a tied space.
        """
        normal, reduce = codes[:, : len(EDGES)], codes[:, len(EDGES) :]
        if self.tied:
            if not np.array_equal(normal, reduce):
                raise ValueError("normal and reduction cell differ: take the graphs of a space with tied=False")
            return [_line_graphs(normal, "")]
        return [_line_graphs(normal, "normal"), _line_graphs(reduce, "reduce")]

    def one_hot(self, codes: np.ndarray) -> np.ndarray:
        """(N, 98) float32, edge by edge in the order of EDGES and of the 7 real operations; `none` is no edge.

        In a space with tied=False (N, 196), normal cell first. Raises: ValueError for untied codes in a tied space.
        """
        if self.tied:
            normal, reduce = codes[:, : len(EDGES)], codes[:, len(EDGES) :]
            if not np.array_equal(normal, reduce):
                raise ValueError("normal and reduction cell differ: take the one-hot code of a space with tied=False")
            codes = normal
        return HOT[codes].reshape(len(codes), codes.shape[1] * HOT.shape[1])

    def most_voted(self, votes: np.ndarray) -> Genotype:
        """Every node keeps the two edges whose best operation has the most votes, each with that operation.

        Ties go to the lower source and the lower operation; in a tied space only the normal cell's votes are asked.
        """
        counts = (votes @ COUNTS[:, 1:]).reshape(2, len(EDGES), -1)
        normal = _most_voted_cell(counts[0])
        return Genotype(normal, normal if self.tied else _most_voted_cell(counts[1]))

    # costs -----------------------------------------------------------------------------------------------------

    def total_costs(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counts = COUNTS[codes].reshape(len(codes), 2, len(EDGES), len(OPS))
        outer = counts[:, :, FROM_INPUT].sum(2)  # (N, 2, ops): how often each operation takes an input of the cell
        inner = counts[:, :, ~FROM_INPUT].sum(2)
        used = np.stack([counts[:, :, source == SOURCES].any((2, 3)) for source in range(INPUTS)], axis=2)
        flops, params = np.zeros((2, len(codes)), dtype=np.int64)
        plans = cell_plan(self.channels, self.layers, self.imagenet_stem)
        for plan in plans:
            cell = int(plan.reduction)
            area = (self.image_size >> plan.halvings) ** 2
            area_out = area // 4 if plan.reduction else area
            op_macs, op_params = _op_costs(plan.width, strided=False)
            outer_macs, outer_params = _op_costs(plan.width, strided=plan.reduction)
            weights = np.array([plan.width_before, plan.width_last]) * plan.width  # of the 1x1 convolutions before
            flops += (inner[:, cell] @ op_macs + outer[:, cell] @ outer_macs) * area_out
            flops += used[:, cell] @ weights * area
            params += inner[:, cell] @ op_params + outer[:, cell] @ outer_params
            params += used[:, cell] @ (weights + 2 * plan.width)
        stem_macs, stem_params = self._stem_costs()
        features = len(NODES) * plans[-1].width
        classifier = features * self.num_classes
        return flops + stem_macs + classifier, params + stem_params + classifier + self.num_classes

    def _stem_costs(self) -> tuple[int, int]:
        """Multiply-accumulates and parameters of the 3x3 convolutions of the stem."""
        side, c = self.image_size, self.channels
        widths = ((3, c // 2), (c // 2, c), (c, c)) if self.imagenet_stem else ((3, 3 * c),)
        macs = params = 0
        for width_in, width in widths:
            side //= 2 if self.imagenet_stem else 1
            macs += 9 * width_in * width * side**2
            params += 9 * width_in * width + 2 * width
        return macs, params


def _sketch(cell: Cell, title: str) -> Graph:
    names = [r"$c_{k-2}$", r"$c_{k-1}$"]
    nodes = {str(source): Block(name, "end") for source, name in enumerate(names)}
    nodes |= {str(node): Block(str(node - INPUTS), "sum") for node in NODES} | {"out": Block(r"$c_k$", "end")}
    edges = [(str(source), str(INPUTS + place // 2), OPS[op]) for place, (op, source) in enumerate(cell) if op != NONE]
    made = with_operations_on_edges(nodes, edges, title)
    used = {name for edge in made.edges for name in edge} | {str(node) for node in NODES} | {"out"}
    kept = {name: block for name, block in made.nodes.items() if name in used}
    return Graph(kept, [*made.edges, *((str(node), "out") for node in NODES)], title)


def _op_costs(width: int, strided: bool) -> tuple[np.ndarray, np.ndarray]:
    """(ops,) multiply-accumulates per output pixel and parameters of every operation, at `width` channels."""
    macs, params = np.zeros((2, len(OPS)), dtype=np.int64)
    for op, kernel in KERNELS.items():
        repeats = 2 if op in (SEP3, SEP5) else 1
        macs[op] = repeats * (kernel**2 * width + width**2)
        params[op] = macs[op] + repeats * 2 * width
    params[[MAX_POOL, AVG_POOL]] = 2 * width
    if strided:  # a skip cannot just hand its input on
        macs[SKIP] = width**2
        params[SKIP] = width**2 + 2 * width
    return macs, params


# cells -------------------------------------------------------------------------------------------------------------


def _random_cell(rng: np.random.Generator) -> Cell:
    ops = iter(rng.integers(1, len(OPS), size=2 * len(NODES)).tolist())
    chosen = rng.integers([len(pairs) for pairs in SOURCE_PAIRS]).tolist()
    return tuple(
        (next(ops), source) for pairs, index in zip(SOURCE_PAIRS, chosen, strict=True) for source in pairs[index]
    )


def _cell_edits(cell: Cell) -> list[Cell]:
    """Cells with one operation changed for a real one, or one source for another that its node does not have."""
    edited = []
    for place, (op, source) in enumerate(cell):
        start = place - place % 2  # of the node's pair
        other = cell[start + 1 - place % 2]
        pairs = [(new, source) for new in REAL_OPS if new != op]
        pairs += [(op, new) for new in range(INPUTS + place // 2) if new not in (source, other[1])]
        for pair in pairs:
            node = sorted((pair, other), key=lambda pair: pair[1])
            edited.append((*cell[:start], *node, *cell[start + 2 :]))
    return edited


def _cell_key(cell: Cell) -> str:
    into: list[list[tuple[int, int]]] = [[] for _ in range(NODES.stop)]
    for place, (op, source) in enumerate(cell):
        if op != NONE and not (op == SKIP and source >= INPUTS and not into[source]):
            into[INPUTS + place // 2].append((op, source))
    keys = []
    for order in itertools.permutations(NODES):
        number = {source: source for source in range(INPUTS)}
        nodes = []
        for node in order:
            if any(source not in number for _, source in into[node]):
                break  # not yet numbered, so it would come later than the node it goes into
            nodes.append("".join(sorted(f"{op}{number[source]}" for op, source in into[node])))
            number[node] = INPUTS + len(nodes) - 1
        else:
            keys.append(",".join(nodes))
    return min(keys)


def _cell_code(cell: Cell) -> list[int]:
    code = [0] * len(EDGES)
    for node in NODES:
        place = 2 * (node - INPUTS)
        (op, source), (other_op, other_source) = cell[place : place + 2]
        if source == other_source:
            code[EDGE_INDEX[source, node]] = STATE_INDEX[EdgeState((op, other_op))]
        else:
            code[EDGE_INDEX[source, node]] = STATE_INDEX[EdgeState((op,), source > other_source)]
            code[EDGE_INDEX[other_source, node]] = STATE_INDEX[EdgeState((other_op,))]
    return code


def _cell_of(code: list[int]) -> Cell:
    cell: list[tuple[int, int]] = []
    for node in NODES:
        pairs: list[tuple[int, int]] = []
        for source in range(node):
            state = STATES[code[EDGE_INDEX[source, node]]]
            named = [(op, source) for op in state.ops]
            pairs = named + pairs if state.first else pairs + named
        if len(pairs) != 2:
            raise ValueError(f"the code has {len(pairs)} operations into node {node} instead of 2: {code}")
        cell += pairs
    return tuple(cell)


def _most_voted_cell(counts: np.ndarray) -> Cell:
    """From votes for the real operations of every edge, (14, 7)."""
    cell: list[tuple[int, int]] = []
    for node in NODES:
        edges = counts[EDGE_INDEX[0, node] :][:node]
        kept = np.argsort(-edges.max(1), kind="stable")[:2]
        cell += [(int(edges[source].argmax()) + 1, int(source)) for source in sorted(kept)]
    return tuple(cell)


# text --------------------------------------------------------------------------------------------------------------


def _read_genotype(text: str) -> Genotype:
    """Raises ValueError saying what is wrong; nothing of the text is ever run."""
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"{len(text)} characters")
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a null byte, too many brackets
        raise ValueError("not of the form Genotype(normal=[...], ...)") from None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Genotype"):
        raise ValueError("not of the form Genotype(normal=[...], ...)")
    parts = {keyword.arg: keyword.value for keyword in call.keywords}
    if call.args or len(parts) != len(call.keywords) or parts.keys() != {*PARTS}:
        raise ValueError(f"each of {', '.join(PARTS)} is needed once by its name, and nothing else,")
    for name in ("normal_concat", "reduce_concat"):
        if not _is_concat(parts[name]):
            raise ValueError(f"{name} is neither [2, 3, 4, 5] nor range(2, 6)")
    return Genotype(_read_cell("normal", parts["normal"]), _read_cell("reduce", parts["reduce"]))


def _read_cell(name: str, value: ast.expr) -> Cell:
    cell = []
    for place, item in enumerate(_items(value)):
        match _items(item):
            case [ast.Constant(str() as op), ast.Constant(source)] if type(source) is int:
                if op not in OPS:
                    raise ValueError(f"unknown operation {op[:40]!r} in {name} (known: {', '.join(OPS)})")
                cell.append((OPS.index(op), source))
            case _:
                raise ValueError(f"item {place} of {name} is not a pair like ('sep_conv_3x3', 0)")
    return tuple(cell)


def _is_concat(value: ast.expr) -> bool:
    """Whether it stands for all four nodes, in whatever order."""
    match value:
        case ast.Call(ast.Name("range"), args, []):
            return _integers(args) == [NODES.start, NODES.stop]
    nodes = _integers(_items(value))
    return len(nodes) == len(NODES) and {*nodes} == {*NODES}


def _integers(items: list[ast.expr]) -> list[int | None]:
    """The numbers that are written out, None for anything else."""
    return [item.value if isinstance(item, ast.Constant) and type(item.value) is int else None for item in items]


def _items(value: ast.expr) -> list[ast.expr]:
    """What a list or tuple holds; nothing for anything else."""
    return value.elts if isinstance(value, (ast.List, ast.Tuple)) else []


def _line_graphs(codes: np.ndarray, name: str) -> CellGraphs:
    """Of (N, 14) codes of one cell. Absent: `none`, and a skip from a node that nothing goes into."""
    rows = np.arange(len(codes))
    ops = np.full((len(codes), 2 * len(NODES)), NONE, dtype=np.int8)
    sources = np.zeros((len(codes), 2 * len(NODES)), dtype=np.int64)
    fed = np.zeros((len(codes), NODES.stop), dtype=bool)
    fed[:, :INPUTS] = True
    taken = np.zeros((len(codes), len(NODES)), dtype=np.int64)  # operations of each node found so far
    pair_of = np.array([(*state.ops, NONE, NONE)[:2] for state in STATES], dtype=np.int8)
    for edge, (source, node) in enumerate(EDGES):
        for op in pair_of[codes[:, edge]].T:
            live = rows[(op != NONE) & ((op != SKIP) | fed[:, source])]
            place = 2 * (node - INPUTS) + taken[live, node - INPUTS]
            ops[live, place], sources[live, place] = op[live], source
            taken[live, node - INPUTS] += 1
            fed[live, node] = True
    count = INPUTS + ops.shape[1] + 1
    there = ops != NONE
    edges = np.zeros((len(codes), count, count), dtype=bool)
    for place in range(ops.shape[1]):
        vertex = INPUTS + place
        edges[rows, sources[:, place], vertex] |= there[:, place] & (sources[:, place] < INPUTS)
        for before in range(place - place % 2):
            onward = sources[:, place] == INPUTS + before // 2
            edges[:, INPUTS + before, vertex] = there[:, before] & there[:, place] & onward
        edges[:, vertex, -1] = there[:, place]
    sets = {
        "conv": OPS[SEP3:], "separable": OPS[SEP3 : SEP5 + 1], "dilated": OPS[DIL3:],
        "3x3 conv": (OPS[SEP3], OPS[DIL3]), "5x5 conv": (OPS[SEP5], OPS[DIL5]),
        "pool": OPS[MAX_POOL : AVG_POOL + 1], "no params": OPS[MAX_POOL : SKIP + 1],
    }  # fmt: skip
    labels = np.where(there, ops - 1, ABSENT).astype(np.int8)
    return CellGraphs(OPS[1:], labels, edges, ("input 0", "input 1"), sets, name=name)
