"""Feature tensors: golden networks, cells worked by hand, slow references vertex by vertex, selections of parts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.encoding import PARTS, ChannelSubset, EncodedFeatures, FeatureTensor, encode, part_channels
from common.errors import InputError
from common.spaces import SearchSpace, make_space
from common.spaces.nasbench101 import Cell101, NasBench101
from common.spaces.nasbench201 import EDGES, Cell201, NasBench201

NB101, NB201 = NasBench101(), NasBench201()
SHAPES = {"nasbench101": (19, 7, 7), "nasbench201": (31, 4, 4), "macro": (3, 10, 10)}


def tensor_of(space: SearchSpace, text: str) -> np.ndarray:
    return encode(space, space.to_codes([space.parse(text)]))[0]


def filled(shape: tuple[int, int], entries: dict[tuple[int, int], float]) -> np.ndarray:
    matrix = np.zeros(shape)
    for place, value in entries.items():
        matrix[place] = value
    return matrix


def random_codes(space: SearchSpace, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return space.to_codes([space.sample(rng) for _ in range(count)])


# by hand -----------------------------------------------------------------------------------------------------------


def test_the_smallest_nasbench101_cell_by_hand():
    """Input and output only: the edge is the 1x1 projection that the output vertex pays for, and stands at (0, 6)."""
    tensor = tensor_of(NB101, "0100:input,output")
    assert tensor.shape == SHAPES["nasbench101"]
    assert np.flatnonzero(tensor.any(0)).tolist() == [6]
    assert tensor[0, 0, 6] == 5
    # 2 x channels in x channels out x pixels; the first cell of a stack has half the channels coming in
    widths = [(128, 128, 32)] * 3 + [(128, 256, 16)] + [(256, 256, 16)] * 2 + [(256, 512, 8)] + [(512, 512, 8)] * 2
    assert tensor[1:10, 0, 6].tolist() == [2 * before * after * side**2 for before, after, side in widths]
    assert tensor[10:19, 0, 6].tolist() == [before * after + 2 * after for before, after, _ in widths]


def test_a_nasbench101_cell_of_four_vertices_by_hand():
    """input -> conv3x3 -> maxpool -> output: the output is the last row and column, whatever the cell's size."""
    tensor = tensor_of(NB101, "0100001000010000:input,conv3x3-bn-relu,maxpool3x3,output")
    edges = [(0, 1), (1, 2), (2, 6)]
    assert [*zip(*np.nonzero(tensor[0]), strict=True)] == edges
    assert tensor[0].tolist() == filled((7, 7), {(0, 1): 3, (1, 2): 4, (2, 6): 5}).tolist()
    convolution = 2 * 128 * 128 * 1024 * (1 + 9)  # the input's 1x1 projection and the 3x3
    assert tensor[1].tolist() == filled((7, 7), {(0, 1): convolution, (1, 2): 9 * 128 * 1024}).tolist()
    assert tensor[10].tolist() == filled((7, 7), {(0, 1): 128 * 128 * 10 + 2 * 256}).tolist()
    convolution = 2 * 256 * 1024 * 256 * (1 / 2 + 9) / 4  # first cell of the second stack: 128 channels in, 16 x 16
    assert tensor[4].tolist() == filled((7, 7), {(0, 1): convolution, (1, 2): 9 * 256 * 256}).tolist()
    assert tensor[13, 0, 1] == 128 * 256 + 2 * 256 + 256 * 256 * 9 + 2 * 256


def test_a_nasbench201_cell_by_hand():
    """0 -3x3-> 1 -skip-> 3, and a 1x1 from 0 to 3: only what costs something is in the cost matrices."""
    tensor = tensor_of(NB201, "|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|skip_connect~1|none~2|")
    assert tensor.shape == SHAPES["nasbench201"]
    assert tensor[0].tolist() == filled((4, 4), {(0, 1): 3, (0, 3): 2, (1, 3): 1}).tolist()
    for cell in range(15):
        width, pixels = 16 << cell // 5, (32 >> cell // 5) ** 2
        params = {(0, 1): 9 * width**2 + 2 * width, (0, 3): width**2 + 2 * width}
        assert tensor[16 + cell].tolist() == filled((4, 4), params).tolist()
        flops = {place: value * pixels for place, value in params.items()}
        assert tensor[1 + cell].tolist() == filled((4, 4), flops).tolist()


@pytest.mark.parametrize("dead", ["none", "nor_conv_3x3", "avg_pool_3x3", "skip_connect"])
def test_edges_that_cannot_reach_the_output_vanish(dead: str):
    """Node 2 leads nowhere, node 1 gets nothing."""
    kept = tensor_of(NB201, "|none~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|none~2|")
    leads_nowhere = f"|none~0|+|{dead}~0|none~1|+|nor_conv_1x1~0|none~1|none~2|"
    gets_nothing = f"|none~0|+|none~0|{dead}~1|+|nor_conv_1x1~0|{dead}~1|none~2|"
    behind_nothing = f"|none~0|+|none~0|{dead}~1|+|nor_conv_1x1~0|none~1|{dead}~2|"
    assert np.count_nonzero(kept) == 31
    for text in (leads_nowhere, gets_nothing, behind_nothing):
        assert np.array_equal(tensor_of(NB201, text), kept)


def test_vertices_that_cannot_reach_the_output_vanish():
    whole = Cell101(((0, 1, 1, 0), (0, 0, 0, 1), (0, 0, 0, 0), (0, 0, 0, 0)), (1, 0))
    pruned = Cell101(((0, 1, 0), (0, 0, 1), (0, 0, 0)), (1,))
    tensors = encode(NB101, NB101.to_codes([whole, pruned]))
    assert np.array_equal(tensors[0], tensors[1])
    assert tensors[0, 0, 0, 1] == 2


# golden networks of the benchmarks ---------------------------------------------------------------------------------


@pytest.mark.shared
def test_golden_nasbench101_tensor(shared_data: Path):
    """The published costs of every vertex, broadcast over the columns and multiplied with the adjacency."""
    (golden,) = json.loads((shared_data / "nasbench101" / "golden_vertex_costs.json").read_text())
    adjacency = np.array(golden["module_adjacency"])
    text = f"{''.join(map(str, adjacency.ravel()))}:{','.join(golden['module_operations'])}"
    numbers = {"input": 1, "conv1x1-bn-relu": 2, "conv3x3-bn-relu": 3, "maxpool3x3": 4, "output": 5}
    vectors = [[numbers[op] for op in golden["module_operations"]]]
    for kind in ("vertex_flops", "vertex_params"):
        vectors += [golden[kind][f"stack{i}/module{j}"] for i, j in itertools.product(range(3), range(3))]
    expected = np.array([adjacency * np.array(vector) for vector in vectors])
    tensor = tensor_of(NB101, text)
    assert tensor.dtype == np.float32
    assert np.array_equal(tensor, expected)
    assert tensor[1, 0, 1] == 92_274_688


@pytest.mark.shared
def test_golden_nasbench201_tensors(shared_data: Path):
    """The published costs of every edge, each at its edge's entry; the two residual blocks (5, 11) are no cells."""
    golden = json.loads((shared_data / "nasbench201" / "golden_edge_costs.json").read_text())
    assert golden
    cells = [cell for cell in range(17) if cell not in (5, 11)]
    for network in golden.values():
        types = np.array(network["cell_adjacency"])
        arch = Cell201(tuple(int(types[edge]) for edge in EDGES))
        expected = [types]
        for kind in ("flops", "params"):
            for cell in cells:
                costs = network[f"cifar10-valid_opt_{kind}"][f"cells{cell}"]
                expected.append(filled((4, 4), dict(zip(EDGES, costs, strict=True))))
        assert np.array_equal(encode(NB201, NB201.to_codes([arch]))[0], np.array(expected))


# slow references ---------------------------------------------------------------------------------------------------


def vertex_costs(matrix: np.ndarray, ops: list[int], before: int, width: int, side: int) -> list[tuple[int, int]]:
    """FLOPs and parameters of each vertex of a pruned cell, one vertex at a time from what the network is made of.

    ops: 0 conv3x3, 1 conv1x1, 2 maxpool3x3 of the inner vertices.
    """
    last = len(matrix) - 1
    channels = [0] * (last + 1)
    channels[last] = width
    feeding = [v for v in range(1, last) if matrix[v][last]]
    for v in reversed(range(1, last)):
        if v in feeding:
            channels[v] = width // len(feeding) + (feeding.index(v) < width % len(feeding))
        else:
            channels[v] = max(channels[w] for w in range(v + 1, last) if matrix[v][w])
    pixels = side * side
    costs = [(0, 0)]
    for v in range(1, last + 1):
        flops = params = 0
        c = channels[v]
        if matrix[0][v]:  # a 1x1 convolution with batch norm brings the input to this vertex's channels
            flops += 2 * before * c * pixels
            params += before * c + 2 * c
        sources = sum(int(matrix[u][v]) for u in range(v))
        if v < last:
            flops += max(sources - 1, 0) * c * pixels  # additions
            if ops[v - 1] == 2:
                flops += 9 * c * pixels
            else:
                weights = c * c * (9 if ops[v - 1] == 0 else 1)
                flops += 2 * weights * pixels
                params += weights + 2 * c
        elif matrix[0][last] and sources > 1:
            flops += c * pixels  # the projected input is added to the concatenation
        costs.append((flops, params))
    return costs


def slow_nasbench101(cell: Cell101) -> np.ndarray:
    n = cell.num_vertices
    place = [*range(n - 1), 6]
    tensor = np.zeros(SHAPES["nasbench101"])
    types = [1, *({0: 3, 1: 2, 2: 4}[op] for op in cell.ops), 5]
    before = 128
    for number in range(9):
        width, side = 128 << number // 3, 32 >> number // 3
        costs = vertex_costs(np.array(cell.matrix), list(cell.ops), before, width, side)
        for i, j in itertools.product(range(n), range(n)):
            if cell.matrix[i][j]:
                tensor[0, place[i], place[j]] = types[j]
                tensor[1 + number, place[i], place[j]], tensor[10 + number, place[i], place[j]] = costs[j]
        before = width
    return tensor


def test_nasbench101_is_the_slow_reference():
    codes = random_codes(NB101, 1000)
    cells = [NB101.from_code(code) for code in codes]
    assert {cell.num_vertices for cell in cells} >= {4, 5, 6, 7}
    for tensor, cell in zip(encode(NB101, codes), cells, strict=True):
        assert np.array_equal(tensor, slow_nasbench101(cell)), NB101.format(cell)


def paths(ops: tuple[int, ...]) -> Iterator[list[int]]:
    """Every way from node 0 to node 3 over edges that are not `none`, as edge numbers."""

    def walk(node: int) -> Iterator[list[int]]:
        if node == 3:
            yield []
        for number, (source, target) in enumerate(EDGES):
            if source == node and ops[number]:
                yield from ([number, *rest] for rest in walk(target))

    return walk(0)


def test_nasbench201_is_the_slow_reference_for_other_images_and_widths():
    space = NasBench201(channels=4, cells_per_stage=2, num_classes=100, image_size=16)
    codes = random_codes(space, 300)
    for tensor, code in zip(encode(space, codes), codes, strict=True):
        ops = tuple(code.tolist())
        live = set(itertools.chain.from_iterable(paths(ops)))
        expected = np.zeros((13, 4, 4))
        for number in live:
            expected[0][EDGES[number]] = ops[number]
            for cell in range(6):
                width, side = 4 << cell // 2, 16 >> cell // 2
                kernel = {2: 1, 3: 3}.get(ops[number])
                if kernel:
                    expected[7 + cell][EDGES[number]] = width * width * kernel**2 + 2 * width
                    expected[1 + cell][EDGES[number]] = expected[7 + cell][EDGES[number]] * side**2
        assert np.array_equal(tensor, expected), ops


def test_a_macro_network_is_a_chain_of_ten_vertices():
    space = make_space("macro")
    codes = random_codes(space, 20)
    tensors = encode(space, codes)
    assert tensors.shape[1:] == SHAPES["macro"]
    assert not np.delete(tensors.reshape(20, 3, 100), np.arange(9) * 11 + 1, axis=2).any()
    assert np.array_equal(tensors[:, 0].diagonal(1, 1, 2)[:, :-1], codes + 2)
    for channel, totals in zip((1, 2), space.total_costs(codes), strict=True):
        around = totals - tensors[:, channel].sum((1, 2), dtype=np.float64)  # stem, head and classifier: all the same
        assert len(set(around.tolist())) == 1


# precision, parts, sources -----------------------------------------------------------------------------------------


def test_float32_holds_2000_nasbench101_tensors_exactly():
    codes = random_codes(NB101, 2000, seed=5)
    single, double = encode(NB101, codes), encode(NB101, codes, dtype=np.float64)
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert np.array_equal(single, double)
    assert double.max() > 2**24  # where whole numbers begin to fall between the floats


@pytest.mark.parametrize("name", sorted(SHAPES))
@pytest.mark.parametrize("parts", [p for n in (1, 2, 3) for p in itertools.combinations(PARTS, n)])
def test_parts_are_slices_of_the_whole_tensor(name: str, parts: tuple[str, ...]):
    space = make_space(name)
    codes = random_codes(space, 6)
    whole = encode(space, codes)
    channels, cells = len(whole[0]), space.num_cells
    assert whole.shape[1:] == SHAPES[name]
    spans = {"type": [0], "flops": [*range(1, 1 + cells)], "params": [*range(1 + cells, channels)]}
    wanted = [channel for part in parts for channel in spans[part]]
    assert part_channels(channels, parts) == wanted
    selected = encode(space, codes, parts)
    assert np.array_equal(selected, whole[:, wanted])
    source = EncodedFeatures(FeatureTensor(",".join(parts)), space, codes)
    assert (source.shape, len(source)) == (selected.shape[1:], 6)
    rows = np.array([4, 0, 4])
    assert np.array_equal(source.rows(rows), selected[rows])
    assert source.rows(rows).dtype == np.float32


def test_parts_come_in_the_tensors_order_however_they_are_named():
    codes = random_codes(NB201, 3)
    assert np.array_equal(encode(NB201, codes, ("params", "type")), encode(NB201, codes, ("type", "params")))
    assert part_channels(5, ("params", "type")) == [0, 3, 4]


@pytest.mark.parametrize("channels", [0, 1, 2, 4, 18, 32])
def test_tensors_of_another_make_have_no_parts(channels: int):
    with pytest.raises(InputError, match=f"tensors of {channels} channels"):
        part_channels(channels, ("type",))


class Prepared:
    """A feature source that knows only what it was given, as the demo's shards do."""

    def __init__(self, tensors: np.ndarray) -> None:
        self.tensors = tensors

    @property
    def shape(self) -> Any:
        return self.tensors.shape[1:]

    def __len__(self) -> int:
        return len(self.tensors)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        return self.tensors[indices]


@pytest.mark.parametrize("parts", [("type",), ("flops", "params"), PARTS])
def test_parts_of_prepared_tensors_are_those_of_encoded_ones(parts: tuple[str, ...]):
    codes = random_codes(NB101, 8)
    prepared = Prepared(encode(NB101, codes))
    subset = ChannelSubset(prepared, tuple(part_channels(19, parts)))
    rows = np.array([7, 2, 2, 0])
    assert (subset.shape, len(subset)) == (EncodedFeatures(FeatureTensor(",".join(parts)), NB101, codes).shape, 8)
    assert np.array_equal(subset.rows(rows), encode(NB101, codes[rows], parts))
