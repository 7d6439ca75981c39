"""Graph features: by hand, against paths listed one by one, equal for isomorphic cells, fit for predictors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from common.encoding import make_encoding
from common.encoding.graph import KINDS, ROWS, GraphFeatures
from common.errors import InputError
from common.spaces import SPACES, CategoricalSpace, SearchSpace, darts, make_space, nasbench101, nasbench201
from common.spaces.darts import Darts, Genotype
from common.spaces.nasbench101 import Cell101, NasBench101
from common.spaces.nasbench201 import Cell201, NasBench201

GRAPH = GraphFeatures()
NB101, NB201, DARTS = NasBench101(), NasBench201(), Darts(tied=False)


def features_of(space: SearchSpace, text: str) -> dict[str, float]:
    values = GRAPH.encode(space, space.to_codes([space.parse(text)]))[0]
    return dict(zip(GRAPH.columns(space), values.tolist(), strict=True))


def random_archs(space: SearchSpace, count: int, seed: int = 0) -> list:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


# by hand -----------------------------------------------------------------------------------------------------------


def test_a_nasbench101_cell_by_hand():
    """input -> conv3x3 -> output, input -> conv1x1 -> maxpool -> output, and input -> output."""
    found = features_of(NB101, "0110100001000100000100000:input,conv3x3-bn-relu,conv1x1-bn-relu,maxpool3x3,output")
    wanted = {
        "paths": 3, "shortest path": 0, "longest path": 2,
        "number of conv3x3-bn-relu": 1, "most conv1x1-bn-relu|maxpool3x3 on a path": 2,
        "least conv on a path": 0, "most conv on a path": 1, "total conv on paths": 2,
        "paths of conv alone": 2, "shortest path of conv alone": 0, "longest path of conv alone": 1,
        "input -> output": 1, "input -> conv1x1-bn-relu": 1, "conv1x1-bn-relu -> maxpool3x3": 1,
        "maxpool3x3 -> output": 1, "maxpool3x3 -> conv3x3-bn-relu": 0,
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted


def test_a_nasbench201_cell_by_hand():
    """3x3 convolution to node 1, from there a pooling and a skip on two ways to the output.

    The plainest form has the convolution of 1x1 on the way without the skip.
    """
    found = features_of(NB201, "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_1x1~2|")
    wanted = {
        "paths": 2, "shortest path": 2, "longest path": 3, "most nor_conv_1x1 on a path": 1,
        "least conv on a path": 1, "total nor_conv_3x3 on paths": 2, "paths of no params alone": 0,
        "skip_connect -> avg_pool_3x3": 1, "nor_conv_3x3 -> skip_connect": 1, "nor_conv_1x1 -> output": 1,
    }  # fmt: skip
    assert {name: found[name] for name in wanted} == wanted
    constant = features_of(NB201, "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_1x1~2|")
    assert all(value == 0 for name, value in constant.items() if not name.startswith("log"))


def test_a_chain_by_hand():
    """An identity inside a stage is nothing: its neighbours follow each other; the first of a stage is a layer."""
    space = make_space("macro")
    found = features_of(space, "20102001")
    assert found["number of any"] == 5
    assert found["number of any in stage 1"] == 1
    assert found["mb6_k5 -> mb3_k3"] == 1
    assert found["mb3_k3 -> mb6_k5"] == 1  # the identity between them is gone
    assert found["mb6_k5 -> identity"] == found["identity -> mb3_k3"] == 1  # it changes the shape
    assert found["mb6_k5 at 0"] == found["mb6_k5 at 3"] == found["mb3_k3 at 6"] == 1


# the slow reference ------------------------------------------------------------------------------------------------


@dataclass
class Graph:
    """Vertices 0 .. n-1 in topological order with an operation, "" for inputs and output; the output comes last."""

    inputs: list[str]
    ops: list[str]
    edges: set[tuple[int, int]]

    def name(self, vertex: int) -> str:
        if vertex < len(self.inputs):
            return self.inputs[vertex]
        return "output" if vertex == len(self.ops) - 1 else self.ops[vertex]

    def paths(self) -> list[list[str]]:
        """Operations along every path from an input to the output."""
        last = len(self.ops) - 1
        waiting = [[source] for source in range(len(self.inputs))]
        found = []
        while waiting:
            path = waiting.pop()
            if path[-1] == last:
                found.append([self.ops[v] for v in path if self.ops[v]])
            waiting += [[*path, v] for u, v in self.edges if u == path[-1]]
        return found

    def ways(self, starts: Sequence[int], end: int) -> list[list[int]]:
        """Lengths of all walks from any of the starts to each vertex, along the edges (end = 1) or against (0)."""
        found: list[list[int]] = [[] for _ in self.ops]
        waiting = [(start, 0) for start in starts]
        while waiting:
            vertex, length = waiting.pop()
            found[vertex].append(length)
            waiting += [(edge[end], length + 1) for edge in self.edges if edge[1 - end] == vertex]
        return found

    def features(self, members: dict[str, Sequence[str]]) -> dict[str, float]:
        paths = self.paths()
        found: dict[str, float] = {
            "paths": len(paths),
            "shortest path": min(map(len, paths), default=0),
            "longest path": max(map(len, paths), default=0),
        }
        for name, ops in members.items():
            counts = [sum(op in ops for op in path) for path in paths]
            alone = [len(path) for path in paths if all(op in ops for op in path)]
            found |= {
                f"number of {name}": sum(op in ops for op in self.ops),
                f"least {name} on a path": min(counts, default=0),
                f"most {name} on a path": max(counts, default=0),
                f"total {name} on paths": sum(counts),
                f"paths of {name} alone": len(alone),
                f"shortest path of {name} alone": min(alone, default=0),
                f"longest path of {name} alone": max(alone, default=0),
            }
        ends = {"edges in": [v for _, v in self.edges], "edges out": [u for u, _ in self.edges]}
        degrees = {name: [several.count(v) for v in range(len(self.ops))] for name, several in ends.items()}
        for name, several in degrees.items():
            found |= {f"vertices of {number} {name}": several.count(number) for number in (1, 2, 3)}
        forward, backward = self.ways(range(len(self.inputs)), 1), self.ways([len(self.ops) - 1], 0)
        summed = degrees | {
            f"{which} way {end}": [choose(lengths, default=0) for lengths in ways]
            for end, ways in (("from input", forward), ("to output", backward))
            for which, choose in (("shortest", min), ("longest", max))
        }
        for what, several in summed.items():
            for name, ops in members.items():
                found[f"{what}, sum over {name}"] = sum(several[v] for v, op in enumerate(self.ops) if op in ops)
        for a, b in itertools.product(range(len(self.ops)), repeat=2):
            found.setdefault(f"{self.name(a)} -> {self.name(b)}", 0)
            found[f"{self.name(a)} -> {self.name(b)}"] += (a, b) in self.edges
        return found


def nasbench101_graph(cell: Cell101) -> Graph:
    pruned = cell.pruned()
    assert pruned is not None
    n = pruned.num_vertices
    edges = {(i, j) for i in range(n) for j in range(n) if pruned.matrix[i][j]}
    return Graph(["input"], ["", *(nasbench101.OPS[op] for op in pruned.ops), ""], edges)


def line_graph(inputs: list[str], placed: list[tuple[str, int, int]], ends: set[int]) -> Graph:
    """placed: (operation, from node, to node) in topological order; the first nodes are the inputs."""
    first = len(inputs)
    edges = {(first + a, first + b) for a, one in enumerate(placed) for b, two in enumerate(placed) if one[2] == two[1]}
    edges |= {(source, first + b) for b, (_, source, _) in enumerate(placed) if source < first}
    edges |= {(first + a, first + len(placed)) for a, (_, _, node) in enumerate(placed) if node in ends}
    return Graph(inputs, [*("" for _ in inputs), *(op for op, _, _ in placed), ""], edges)


def nasbench201_graph(cell: Cell201) -> Graph:
    """Of the canonical form: what its features must be is another test's matter."""
    code = NB201.canonical_codes(NB201.to_codes([cell]))[0]
    placed = [(nasbench201.OPS[op], *edge) for edge, op in zip(nasbench201.EDGES, code, strict=True) if op]
    return line_graph(["input"], placed, {3})


def darts_graph(pairs: darts.Cell) -> Graph:
    placed: list[tuple[str, int, int]] = []
    for place, (op, source) in enumerate(pairs):
        fed = source < darts.INPUTS or source in {node for _, _, node in placed}
        if op != darts.NONE and (op != darts.SKIP or fed):
            placed.append((darts.OPS[op], source, darts.INPUTS + place // 2))
    return line_graph(["input 0", "input 1"], placed, set(darts.NODES))


def check(columns: list[str], values: np.ndarray, cell: str, graph: Graph, members: dict[str, Sequence[str]]) -> None:
    found = dict(zip(columns, values.tolist(), strict=True))
    wanted = graph.features(members)
    for name in columns:
        if name.startswith(cell) and not name.startswith("log"):
            plain = name.removeprefix(cell)
            assert found[name] == wanted.get(plain, 0), (name, graph)


def members_of(space: SearchSpace) -> dict[str, Sequence[str]]:
    """Names to operations, of the description: which sets there are is a matter of taste, not of fact."""
    cell = space.cell_graphs(space.to_codes(random_archs(space, 1)))[0]
    chosen = {
        name: [op for op, is_in in zip(cell.operations, flags, strict=True) if is_in]
        for name, flags in cell.members().items()
    }
    assert len({frozenset(ops) for ops in chosen.values()}) == len(chosen)
    return chosen


def test_features_are_those_of_the_paths_listed_one_by_one_nasbench101():
    archs = random_archs(NB101, 300)
    values, columns = GRAPH.encode(NB101, NB101.to_codes(archs)), GRAPH.columns(NB101)
    for arch, row in zip(archs, values, strict=True):
        check(columns, row, "", nasbench101_graph(arch), members_of(NB101))


def test_features_are_those_of_the_paths_listed_one_by_one_nasbench201():
    archs = random_archs(NB201, 300)
    values, columns = GRAPH.encode(NB201, NB201.to_codes(archs)), GRAPH.columns(NB201)
    for arch, row in zip(archs, values, strict=True):
        check(columns, row, "", nasbench201_graph(arch), members_of(NB201))


def rough_genotype(rng: np.random.Generator) -> Genotype:
    """With `none`, and with both operations from one source, as published tables have them."""
    cells = [
        tuple((int(rng.integers(len(darts.OPS))), int(rng.integers(node))) for node in darts.NODES for _ in range(2))
        for _ in range(2)
    ]
    return Genotype(*cells)


def test_features_are_those_of_the_paths_listed_one_by_one_darts():
    rng = np.random.default_rng(1)
    archs = [*random_archs(DARTS, 50), *(rough_genotype(rng) for _ in range(100))]
    values, columns = GRAPH.encode(DARTS, DARTS.to_codes(archs)), GRAPH.columns(DARTS)
    for arch, row in zip(archs, values, strict=True):
        check(columns, row, "normal: ", darts_graph(arch.normal), members_of(DARTS))
        check(columns, row, "reduce: ", darts_graph(arch.reduce), members_of(DARTS))


# isomorphic architectures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [NB201, make_space("macro")], ids=["nasbench201", "macro"])
def test_isomorphic_architectures_have_equal_features_and_others_do_not(space):
    """All of the space. Features tell nearly all classes apart: two classes alike would be a feature too few."""
    codes = space.all_codes()
    values = GRAPH.encode(space, codes)
    classes: dict[str, bytes] = {}
    for code, row in zip(codes, values, strict=True):
        key = space.canonical_key(space.from_code(code))
        assert classes.setdefault(key, row.tobytes()) == row.tobytes(), key
    assert len(set(classes.values())) == len(classes)


def permuted(cell: Cell101, rng: np.random.Generator) -> Cell101:
    """The same cell with its inner vertices in another topological order."""
    n = cell.num_vertices
    while True:
        order = [0, *(1 + rng.permutation(n - 2)).tolist(), n - 1]
        matrix = np.array(cell.matrix)[np.ix_(order, order)]
        if not np.tril(matrix).any():
            return Cell101(tuple(map(tuple, matrix.tolist())), tuple(cell.ops[v - 1] for v in order[1:-1]))


def test_isomorphic_nasbench101_cells_have_equal_codes_and_features():
    rng = np.random.default_rng(0)
    archs = [cell for cell in (arch.pruned() for arch in random_archs(NB101, 400)) if cell is not None]
    others = [permuted(cell, rng) for cell in archs]
    codes, moved = NB101.to_codes(archs), NB101.to_codes(others)
    assert (codes != moved).any(axis=1).sum() > 40
    assert np.array_equal(NB101.canonical_codes(codes), NB101.canonical_codes(moved))
    assert np.array_equal(GRAPH.encode(NB101, codes), GRAPH.encode(NB101, moved))
    keys = [NB101.canonical_key(NB101.from_code(code)) for code in NB101.canonical_codes(codes)]
    assert keys == [NB101.canonical_key(arch) for arch in archs]


def test_isomorphic_darts_cells_have_equal_features():
    """Nodes that do not depend on each other change places, and the two operations of every node do."""
    rng = np.random.default_rng(0)
    changed = 0
    for arch in random_archs(DARTS, 300):
        nodes = [arch.normal[2 * i : 2 * i + 2] for i in range(4)]
        order = rng.permutation(4)
        place = {darts.INPUTS + int(old): darts.INPUTS + new for new, old in enumerate(order)}
        moved = [
            [(op, place.get(source, source)) for op, source in nodes[old][:: 1 if rng.random() < 0.5 else -1]]
            for old in order
        ]
        if any(source >= darts.INPUTS + new for new, node in enumerate(moved) for _, source in node):
            continue  # a node would come before one that it takes
        other = Genotype(tuple(pair for node in moved for pair in node), arch.reduce)
        assert DARTS.canonical_key(other) == DARTS.canonical_key(arch)
        rows = GRAPH.encode(DARTS, DARTS.to_codes([arch, other]))
        assert np.array_equal(*rows)
        changed += other != arch
    assert changed > 20


def test_a_skipped_layer_of_a_chain_may_stand_anywhere_in_its_stage():
    space = make_space("mobilenet")
    for arch in random_archs(space, 50):
        stages = [arch.layers[i : i + 4] for i in range(0, 20, 4)]
        moved = [(first, *sorted(rest, key=lambda choice: choice != 0)) for first, *rest in stages]
        other = type(arch)(tuple(choice for stage in moved for choice in stage))
        alike = space.canonical_key(other) == space.canonical_key(arch)
        rows = GRAPH.encode(space, space.to_codes([arch, other]))
        chains = rows[:, 2:]  # the costs are those of the network as it is written
        assert np.array_equal(*chains) or not alike


# as an encoding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SPACES))
def test_every_space_has_named_finite_features(name):
    space = make_space(name)
    codes = space.to_codes(random_archs(space, 20))
    values, columns = make_encoding("graph").encode(space, codes), GRAPH.columns(space)
    assert values.shape == (20, len(columns)) == (20, len(set(columns)))
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert len(np.unique(values, axis=0)) > 15
    assert np.array_equal(values[7:9], GRAPH.encode(space, codes[7:9]))
    assert GRAPH.encode(space, codes[:0]).shape == (0, len(columns))


def test_rows_do_not_depend_on_what_they_are_encoded_with():
    """One chunk or several: the 15,625 cells twice over are more than one."""
    codes = np.concatenate([NB201.all_codes()[::-1], NB201.all_codes()])
    assert len(codes) > ROWS
    values = GRAPH.encode(NB201, codes)
    assert np.array_equal(values[-100:], GRAPH.encode(NB201, codes[-100:]))
    assert np.array_equal(values[: len(codes) // 2][::-1], values[len(codes) // 2 :])


def test_columns_of_a_kind_are_of_one_group_and_no_two_encodings_share_one():
    """By name; one_hot and costs, which know no kinds, are a group each."""
    columns, groups = GRAPH.columns(NB201), GRAPH.groups(NB201)
    kinds = {column: list(KINDS)[group] for column, group in zip(columns, groups, strict=True)}
    assert kinds["log FLOPs"] == kinds["log params"] == "costs"
    assert kinds["input -> nor_conv_3x3"] == "edges between operations"
    assert kinds["vertices of 2 edges in"] == kinds["edges out, sum over nor_conv_3x3"] == "degrees"
    assert kinds["longest way to output, sum over skip_connect"] == "depth"
    assert kinds["longest path of nor_conv_3x3 alone"] == "paths of a set alone"
    assert kinds["longest path"] == "paths and lengths"
    joined = make_encoding("graph+one_hot+costs").groups(NB201)
    assert np.array_equal(joined[: len(groups)], groups)
    width = len(make_encoding("one_hot").columns(NB201))
    assert (joined[len(groups) :] - groups.max()).tolist() == [1] * width + [2] * (len(joined) - len(groups) - width)


# scores of a file --------------------------------------------------------------------------------------------------

A, B, C = (
    "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|nor_conv_1x1~1|none~2|",
    "|avg_pool_3x3~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|",
    "|nor_conv_1x1~0|+|nor_conv_1x1~0|none~1|+|none~0|none~1|nor_conv_3x3~2|",
)
ISOMORPHIC_TO_B = "|none~0|+|none~0|none~1|+|avg_pool_3x3~0|none~1|none~2|"


def test_scores_of_a_file_enter_by_their_rank(tmp_path):
    """Quantiles at 1/6, 1/2 and 5/6 of three; a score that is missing is the median; an accuracy is no score."""
    path = tmp_path / "scores.csv"
    path.write_text(f"arch,synflow,jacov,cifar10_test_200\n{A},1e9,-3,93\n{B},2,,10\n{C},30,5,94\n")
    encoding = make_encoding(f"scores={path}")
    assert encoding.columns(NB201) == ["synflow", "jacov", "scores known"]
    codes = NB201.to_codes([NB201.parse(text) for text in (A, B, ISOMORPHIC_TO_B, C)])
    high, half = 0.9674216, 0.6744898
    expected = [[high, -half, 1], [-high, 0, 1], [-high, 0, 1], [0, half, 1]]
    assert np.allclose(encoding.encode(NB201, codes), expected)
    other = NB201.to_codes([NB201.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")])
    assert encoding.encode(NB201, other).tolist() == [[0, 0, 0]]
    joined = make_encoding(f"graph+scores={path}")
    assert joined.encode(NB201, codes).shape == (4, len(GRAPH.columns(NB201)) + 3)
    assert joined.describe() == f"graph+scores={path}"


def test_isomorphic_architectures_share_their_mean_score(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(f"arch,nwot\n{B},1\n{ISOMORPHIC_TO_B},2\n{C},3\n")
    rows = make_encoding(f"scores={path}").encode(NB201, NB201.to_codes([NB201.parse(B), NB201.parse(C)]))
    assert np.allclose(rows, [[-0.9674216 / 2, 1], [0.9674216, 1]])


def test_scores_without_a_file_or_without_scores_are_refused(tmp_path):
    with pytest.raises(InputError, match="scores=FILE"):
        make_encoding("graph+scores")
    path = tmp_path / "accuracies.csv"
    path.write_text(f"arch,cifar10_test_200\n{A},93\n")
    with pytest.raises(InputError, match="no scores"):
        make_encoding(f"scores={path}").check(NB201)


def test_a_space_without_costs_has_its_choices_alone():
    space = CategoricalSpace.from_choices({"first": ["a", "b"], "second": [1, 2, 3]}, "no costs")
    codes = space.to_codes([space.parse("first=b,second=3")])
    assert not [name for name in GraphFeatures().columns(space) if "log" in name]
    np.testing.assert_array_equal(GraphFeatures().encode(space, codes), [[0, 1, 0, 0, 1]])
