"""NAS-Bench-101: published hash and costs, isomorphism, and costs against a slow walk over the graph."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from common.networks import build_network
from common.spaces.nasbench101 import OPS, UPPER, Cell101, NasBench101, vertex_channels

SPACE = NasBench101()
CONV3, CONV1, POOL = range(3)


def cell(edges: str, *ops: int) -> Cell101:
    """A cell from its edges, `01 12 23`: source and target digit each."""
    n = len(ops) + 2
    matrix = np.zeros((n, n), dtype=int)
    for source, target in edges.split():
        matrix[int(source), int(target)] = 1
    return Cell101(tuple(map(tuple, matrix.tolist())), ops)


def valid_samples(count: int, seed: int = 0) -> list[Cell101]:
    rng = np.random.default_rng(seed)
    return [SPACE.sample(rng) for _ in range(count)]


@pytest.fixture
def golden(shared_data: Path) -> dict:
    return json.loads((shared_data / "nasbench101" / "golden_vertex_costs.json").read_text())[0]


@pytest.mark.shared
def test_hash_and_costs_equal_the_published_network(golden: dict) -> None:
    digits = "".join(str(bit) for row in golden["module_adjacency"] for bit in row)
    arch = SPACE.from_raw(digits, ",".join(golden["module_operations"]))
    assert SPACE.canonical_key(arch) == golden["unique_hash"]
    codes = SPACE.to_codes([arch])
    flops, params = SPACE.costs(codes)
    np.testing.assert_array_equal(flops[0], [*golden["vertex_flops"].values()])
    np.testing.assert_array_equal(params[0], [*golden["vertex_params"].values()])
    totals = [int(total[0]) for total in SPACE.total_costs(codes)]
    assert totals == [golden["flops"], golden["trainable_parameters"]]


# identity ------------------------------------------------------------------------------------------------------


def test_hash_does_not_depend_on_the_order_of_the_vertices() -> None:
    rng = np.random.default_rng(0)
    reordered = 0
    for arch in valid_samples(60):
        matrix, ops = np.array(arch.matrix), np.array(arch.ops)
        for _ in range(20):
            order = np.array([0, *1 + rng.permutation(len(ops)), len(ops) + 1])
            shuffled = matrix[np.ix_(order, order)]
            if np.tril(shuffled).any():
                continue
            other = Cell101(tuple(map(tuple, shuffled.tolist())), tuple(ops[order[1:-1] - 1].tolist()))
            reordered += other != arch
            assert SPACE.canonical_key(other) == SPACE.canonical_key(arch)
    assert reordered > 50


def test_hash_does_not_depend_on_dead_vertices() -> None:
    alive = cell("01 12", CONV3)
    no_output = cell("01 02 13", CONV3, POOL)
    no_input = cell("01 13 23", CONV3, CONV1)
    assert no_output.pruned() == no_input.pruned() == alive
    assert SPACE.canonical_key(no_output) == SPACE.canonical_key(no_input) == SPACE.canonical_key(alive)
    np.testing.assert_array_equal(SPACE.to_codes([no_output]), SPACE.to_codes([alive]))
    pruned = [(arch, arch.pruned()) for arch in valid_samples(60)]
    assert sum(arch != small for arch, small in pruned) > 10
    for arch, small in pruned:
        assert small is not None
        assert small.pruned() == small == SPACE.from_code(SPACE.to_codes([arch])[0])
        assert SPACE.canonical_key(arch) == SPACE.canonical_key(small)


def test_hash_tells_operations_and_edges_apart() -> None:
    cells = [
        cell("01 12", CONV3),
        cell("01 12", CONV1),
        cell("01 12 02", CONV3),
        cell("01 12 23", CONV3, CONV1),
        cell("01 12 23", CONV1, CONV3),
        cell("01 13 02 23", CONV3, CONV1),
    ]
    assert len({*map(SPACE.canonical_key, cells)}) == len(cells)


@pytest.mark.parametrize(("vertices", "known"), [(2, 1), (3, 6), (4, 84)])
def test_number_of_distinct_cells_is_the_benchmarks(vertices: int, known: int) -> None:
    found = set()
    pairs = [*zip(*np.triu_indices(vertices, 1), strict=True)]
    for bits in itertools.product((0, 1), repeat=len(pairs)):
        matrix = np.zeros((vertices, vertices), dtype=int)
        matrix[np.triu_indices(vertices, 1)] = bits
        for ops in itertools.product(range(len(OPS)), repeat=vertices - 2):
            arch = Cell101(tuple(map(tuple, matrix.tolist())), ops)
            if arch.pruned() == arch:
                found.add(SPACE.canonical_key(arch))
    assert len(found) == known


# validity ------------------------------------------------------------------------------------------------------


def test_samples_mutants_and_neighbours_are_valid() -> None:
    rng = np.random.default_rng(0)
    arch = SPACE.sample(rng)
    seen = Counter()
    for _ in range(40):
        assert SPACE.is_valid(arch)
        assert all(map(SPACE.is_valid, SPACE.neighbours(arch)))
        pruned = arch.pruned()
        assert pruned is not None
        seen[pruned.num_vertices] += 1
        arch = SPACE.mutate(arch, rng)
    assert len(seen) > 1


def test_a_small_cell_can_grow_by_mutation() -> None:
    rng = np.random.default_rng(0)
    sizes = {SPACE.to_codes([SPACE.mutate(cell("01 12", CONV3), rng)])[0, :21].sum() for _ in range(100)}
    assert max(sizes) > 2


def test_nine_edges_are_valid_and_ten_are_not() -> None:
    nine = cell("01 02 03 04 15 25 35 45 12", CONV3, CONV3, CONV3, CONV3)
    ten = cell("01 02 03 04 15 25 35 45 12 23", CONV3, CONV3, CONV3, CONV3)
    assert (nine.num_edges, ten.num_edges) == (9, 10)
    assert SPACE.is_valid(nine)
    assert not SPACE.is_valid(ten)


def test_edges_of_dead_vertices_do_not_count() -> None:
    busy = cell("01 02 03 04 16 26 36 46 05 15 25", CONV3, CONV3, CONV3, CONV3, CONV3)  # vertex 5 leads nowhere
    assert busy.num_edges == 11
    assert SPACE.is_valid(busy)


@pytest.mark.parametrize("dead", [cell(""), cell("01", CONV3), cell("12", CONV3), cell("01 23", CONV3, CONV3)])
def test_a_cell_without_a_path_is_invalid_and_can_be_neither_hashed_nor_coded_nor_built(dead: Cell101) -> None:
    assert dead.pruned() is None
    assert not SPACE.is_valid(dead)
    assert not SPACE.reaches_output(dead)
    refusing = SPACE.canonical_key, lambda arch: build_network(SPACE, arch), lambda arch: SPACE.to_codes([arch])
    for refuse in refusing:
        with pytest.raises(ValueError, match="no path from input to output"):
            refuse(dead)


@pytest.mark.parametrize(
    ("matrix", "ops"),
    [
        (((0,),), ()),
        (tuple((0,) * 8 for _ in range(8)), (0,) * 6),
        (((0, 1), (1, 0)), ()),
        (((0, 2), (0, 0)), ()),
        (((0, 1), (0,)), ()),
        (((0, 1), (0, 0)), (0,)),
        (((0, 1, 0), (0, 0, 1), (0, 0, 0)), (3,)),
    ],
)
def test_values_check_themselves(matrix: tuple, ops: tuple) -> None:
    with pytest.raises(ValueError, match="need"):
        Cell101(matrix, ops)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("010:input,output", "V\\*V digits"),
        ("0200:input,output", "V\\*V digits"),
        ("0100:output,input", "2 operations input,...,output"),
        ("0100:input,conv3x3-bn-relu,output", "2 operations input,...,output"),
        ("010001000:input,conv5x5-bn-relu,output", "conv5x5-bn-relu"),
        ("0110:input,output", "not upper triangular"),
        ("0" * 64 + ":input," + "maxpool3x3," * 6 + "output", "V in 2..7"),
    ],
)
def test_bad_text_is_named(text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        SPACE.parse(text)


# arrays --------------------------------------------------------------------------------------------------------


def test_codes_hold_the_upper_triangle_and_the_operations_of_a_padded_cell() -> None:
    arch = cell("01 12 23 03", POOL, CONV3)
    assert SPACE.format(arch) == "0101001000010000:input,maxpool3x3,conv3x3-bn-relu,output"
    (code,) = SPACE.to_codes([arch])
    edges = {(int(i), int(j)) for i, j, bit in zip(*UPPER, code[:21], strict=True) if bit}
    assert edges == {(0, 1), (1, 2), (2, 6), (0, 6)}
    np.testing.assert_array_equal(code[21:], [3, 1, 0, 0, 0])
    np.testing.assert_array_equal(SPACE.types(code[None]), [[1, 4, 3, 0, 0, 0, 5]])
    hot = SPACE.one_hot(code[None])
    assert hot.shape == (1, 41)
    np.testing.assert_array_equal(hot[0, :21], code[:21])
    np.testing.assert_array_equal(np.flatnonzero(hot[0, 21:]), [3, 5, 8, 12, 16])


def test_a_vertexs_value_is_placed_on_each_edge_that_enters_it() -> None:
    codes = SPACE.to_codes([cell("01 12 23 03", POOL, CONV3)])
    placed = SPACE.edge_matrices(codes, np.array([[[10, 11, 12, 13, 14, 15, 16]]]))
    expected = np.zeros((7, 7), dtype=int)
    expected[0, 1], expected[1, 2], expected[2, 6], expected[0, 6] = 11, 12, 16, 16
    np.testing.assert_array_equal(placed[0, 0], expected)


# channels and costs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        (cell("01"), [64, 128]),
        (cell("01 02 03 14 24 34", CONV3, CONV3, CONV3), [64, 43, 43, 42, 128]),  # 128 over three: the first take more
        # vertex 1 feeds 2 and 3 only and takes the larger width, not their sum
        (cell("01 12 13 24 34 04", CONV3, CONV1, POOL), [64, 64, 64, 64, 128]),
        # vertices 2, 3 and 4 share the output; vertex 1 feeds 4 (42 wide) alone, so it is as narrow
        (cell("01 02 03 14 25 35 45", CONV3, CONV3, CONV3, CONV3), [64, 42, 43, 43, 42, 128]),
        # a vertex that feeds the output keeps its share although it also feeds a wider one further on
        (cell("01 12 23 14 34", CONV3, CONV3, CONV3), [64, 64, 64, 64, 128]),
    ],
)
def test_channels_by_hand(arch: Cell101, expected: list[int]) -> None:
    matrix = np.zeros((7, 7), dtype=np.int64)
    n = arch.num_vertices
    keep = [*range(n - 1), 6]
    matrix[np.ix_(keep, keep)] = arch.matrix
    channels = vertex_channels(matrix[None], 64, 128)[0]
    np.testing.assert_array_equal(channels[keep], expected)
    assert channels.sum() == sum(expected)


def test_costs_equal_a_walk_over_the_graph() -> None:
    archs = [cell("01"), *valid_samples(200)]
    flops, params = SPACE.costs(SPACE.to_codes(archs))
    shapes = [(128, 128, 32)] * 3 + [(128, 256, 16)] + [(256, 256, 16)] * 2 + [(256, 512, 8)] + [(512, 512, 8)] * 2
    for row, arch in enumerate(archs):
        pruned = arch.pruned()
        assert pruned is not None
        keep = [*range(pruned.num_vertices - 1), 6]
        for index, shape in enumerate(shapes):
            walked = np.array([vertex_cost(pruned, v, *shape) for v in range(pruned.num_vertices)])
            np.testing.assert_array_equal(flops[row, index, keep], walked[:, 0])
            np.testing.assert_array_equal(params[row, index, keep], walked[:, 1])
            assert flops[row, index].sum() == walked[:, 0].sum()


def vertex_cost(arch: Cell101, v: int, width_in: int, width: int, side: int) -> tuple[int, int]:
    """FLOPs and parameters of one vertex, written down from the description of the benchmark's network."""
    last = arch.num_vertices - 1
    if v == 0:
        return 0, 0
    mine = channels_of(arch, v, width)
    pixels = side * side
    flops = params = 0
    sources = [u for u in range(v) if arch.matrix[u][v]]
    if 0 in sources:  # 1x1 convolution with batch norm on the edge from the input
        flops += 2 * width_in * mine * pixels
        params += width_in * mine + 2 * mine
    if v == last:  # one concatenation of the inner vertices, and the projection added to it
        return flops + (mine * pixels if 0 in sources and len(sources) > 1 else 0), params
    flops += (len(sources) - 1) * mine * pixels
    op = arch.ops[v - 1]
    if op == POOL:
        return flops + 9 * mine * pixels, params
    taps = 9 if op == CONV3 else 1
    return flops + 2 * taps * mine * mine * pixels, params + taps * mine * mine + 2 * mine


def channels_of(arch: Cell101, v: int, width: int) -> int:
    last = arch.num_vertices - 1
    if v == last:
        return width
    feeding = [u for u in range(1, last) if arch.matrix[u][last]]
    if v in feeding:
        return width // len(feeding) + (feeding.index(v) < width % len(feeding))
    return max(channels_of(arch, w, width) for w in range(v + 1, last) if arch.matrix[v][w])
