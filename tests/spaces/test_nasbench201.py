"""NAS-Bench-201: published costs, isomorphic cells by hand and by exhaustive evaluation."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from common.spaces.nasbench201 import CONV1, CONV3, EDGES, NONE, OPS, POOL, SKIP, Cell201, NasBench201

SPACE = NasBench201()
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"


def key(*ops: int) -> str:
    """Canonical key of the operations on 0->1, 0->2, 1->2, 0->3, 1->3, 2->3."""
    return SPACE.canonical_key(Cell201(ops))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("dataset", "num_classes", "image_size"),
    [("cifar10-valid", 10, 32), ("cifar100", 100, 32), ("ImageNet16-120", 120, 16)],
)
def test_costs_equal_the_published_cell(shared_data: Path, dataset: str, num_classes: int, image_size: int) -> None:
    golden = json.loads((shared_data / "nasbench201" / "golden_edge_costs.json").read_text())["0"]
    space = NasBench201(num_classes=num_classes, image_size=image_size)
    codes = space.to_codes([space.parse(golden["arch_str"])])
    flops, params = space.costs(codes)
    np.testing.assert_array_equal(flops[0], [*golden[f"{dataset}_opt_flops"].values()])
    np.testing.assert_array_equal(params[0], [*golden[f"{dataset}_opt_params"].values()])
    totals = [int(total[0]) for total in space.total_costs(codes)]
    assert totals == [golden[f"{dataset}_total_flops"], golden[f"{dataset}_total_params"]]
    np.testing.assert_array_equal(
        space.edge_matrices(codes, space.types(codes)[:, None])[0, 0], golden["cell_adjacency"]
    )


def test_a_convolution_is_priced_by_hand_in_every_stage() -> None:
    cell = SPACE.costs(np.array([[CONV3, CONV1, SKIP, POOL, NONE, NONE]], dtype=np.uint8))
    assert cell.flops.shape == (1, 15, 6)
    for index, (width, side) in enumerate([(16, 32)] * 5 + [(32, 16)] * 5 + [(64, 8)] * 5):
        weights = np.array([9 * width * width, width * width])
        np.testing.assert_array_equal(cell.params[0, index], [*(weights + 2 * width), 0, 0, 0, 0])
        np.testing.assert_array_equal(cell.flops[0, index], [*((weights + 2 * width) * side * side), 0, 0, 0, 0])


def test_text_names_sources_and_operations_in_edge_order() -> None:
    cell = SPACE.parse(BEST)
    assert cell == Cell201((CONV3, CONV3, CONV3, SKIP, CONV3, CONV3))
    assert SPACE.format(cell) == BEST


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (BEST.replace("skip_connect", "skip"), "unknown operation 'skip'"),
        (BEST.replace("~2", "~1"), "node group 3"),
        (BEST.replace("~0", "~1", 1), "node group 1"),
        (BEST.replace("+", ""), "1 node groups instead of 3"),
        (BEST + "+|none~0|", "4 node groups instead of 3"),
        (BEST.replace("|+", "+", 1), "node group 1"),
    ],
)
def test_bad_text_is_named_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        SPACE.parse(text)


@pytest.mark.parametrize("ops", [(0,) * 5, (0,) * 7, (0, 0, 0, 0, 0, 5), (0, 0, 0, 0, 0, -1)])
def test_values_check_themselves(ops: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="need 6 operation indices"):
        Cell201(ops)


def test_one_hot_has_a_column_per_edge_and_operation() -> None:
    hot = SPACE.one_hot(SPACE.to_codes([SPACE.parse(BEST)]))
    np.testing.assert_array_equal(np.flatnonzero(hot[0]), [3, 8, 13, 16, 23, 28])
    assert hot.shape == (1, 30)


def test_values_are_placed_at_source_and_target_and_none_has_no_edge() -> None:
    codes = np.array([[SKIP, NONE, CONV1, POOL, CONV3, NONE]], dtype=np.uint8)
    placed = SPACE.edge_matrices(codes, np.array([[[11, 12, 13, 14, 15, 16]]]))
    np.testing.assert_array_equal(placed[0, 0], [[0, 11, 0, 14], [0, 0, 13, 15], [0, 0, 0, 0], [0, 0, 0, 0]])


def test_whole_space_is_every_cell_once_and_341_do_not_reach_the_output() -> None:
    codes = SPACE.all_codes()
    assert len(np.unique(codes, axis=0)) == len(codes) == SPACE.size == 15625
    np.testing.assert_array_equal(codes[1], [0, 0, 0, 0, 0, 1])
    reached = [any(all(code[edge] != NONE for edge in path) for path in all_paths()) for code in codes]
    assert [SPACE.reaches_output(SPACE.from_code(code)) for code in codes] == reached
    assert reached.count(False) == 341


def test_live_codes_keep_the_edges_on_ways_through_and_empty_the_others() -> None:
    codes = SPACE.all_codes()
    expected = np.zeros_like(codes)
    for path in all_paths():
        open_way = (codes[:, path] != NONE).all(axis=1)
        expected[np.ix_(open_way, path)] = codes[np.ix_(open_way, path)]
    np.testing.assert_array_equal(SPACE.live_codes(codes), expected)
    assert (expected != codes).any(axis=1).sum() > 1000


def all_paths() -> list[list[int]]:
    """The four ways from node 0 to node 3, as edge numbers."""
    ways = [(0, 3), (0, 1, 3), (0, 2, 3), (0, 1, 2, 3)]
    return [[EDGES.index(edge) for edge in itertools.pairwise(way)] for way in ways]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # dead ends: an edge from a node without input, an edge into a node without output
        ((NONE, NONE, CONV1, CONV3, POOL, NONE), (NONE, NONE, NONE, CONV3, NONE, NONE)),
        ((CONV1, CONV3, POOL, SKIP, NONE, NONE), (NONE, NONE, NONE, SKIP, NONE, NONE)),
        # no input at all
        ((NONE, NONE, CONV1, NONE, CONV3, CONV3), (NONE, NONE, NONE, NONE, NONE, NONE)),
        # a skip before or after the operation, or on either way round
        ((SKIP, NONE, NONE, NONE, CONV3, NONE), (CONV3, NONE, NONE, NONE, SKIP, NONE)),
        ((SKIP, NONE, NONE, NONE, CONV3, NONE), (NONE, NONE, NONE, CONV3, NONE, NONE)),
        ((CONV1, NONE, SKIP, NONE, NONE, CONV3), (NONE, CONV1, NONE, NONE, NONE, CONV3)),
        # nodes 1 and 2 exchanged
        ((CONV1, CONV3, NONE, NONE, SKIP, POOL), (CONV3, CONV1, NONE, NONE, POOL, SKIP)),
        # parallel branches reached through skips in different places
        ((SKIP, NONE, NONE, CONV1, CONV1, NONE), (CONV1, CONV1, NONE, NONE, SKIP, SKIP)),
        # average pooling has no weights: once taken twice is twice taken once
        ((POOL, NONE, SKIP, NONE, SKIP, SKIP), (POOL, POOL, NONE, NONE, SKIP, SKIP)),
    ],
)
def test_isomorphic_cells_share_their_key(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    assert key(*one) == key(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((NONE, NONE, NONE, CONV1, NONE, NONE), (NONE, NONE, NONE, CONV3, NONE, NONE)),
        ((NONE, NONE, NONE, SKIP, NONE, NONE), (NONE, NONE, NONE, NONE, NONE, NONE)),
        # order along a path
        ((CONV1, NONE, NONE, NONE, CONV3, NONE), (CONV3, NONE, NONE, NONE, CONV1, NONE)),
        # the input once and twice
        ((SKIP, NONE, NONE, SKIP, SKIP, NONE), (NONE, NONE, NONE, SKIP, NONE, NONE)),
        # one convolution of a sum, and a sum of convolutions
        ((SKIP, CONV3, SKIP, NONE, NONE, CONV1), (SKIP, CONV3, NONE, NONE, CONV1, CONV1)),
        # one convolution taken twice (through node 2 as well), and two convolutions with weights of their own
        ((CONV3, NONE, SKIP, NONE, SKIP, SKIP), (CONV3, NONE, NONE, CONV3, SKIP, NONE)),
        # the same, with the convolution taken twice being the other one
        ((CONV1, CONV3, SKIP, CONV3, SKIP, SKIP), (CONV3, CONV1, SKIP, CONV1, SKIP, SKIP)),
    ],
)
def test_cells_that_differ_have_different_keys(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    assert key(*one) != key(*other)


def test_keys_split_the_whole_space_exactly_as_evaluating_it_does() -> None:
    codes = SPACE.all_codes()
    keys = [SPACE.canonical_key(SPACE.from_code(code)) for code in codes]
    prints = fingerprints(codes).tolist()
    assert len(set(prints)) > 5000
    assert len(set(keys)) == len(set(prints)) == len({*zip(keys, prints, strict=True)})


def fingerprints(codes: np.ndarray) -> np.ndarray:
    """(N,) uint64, equal where cells compute the same for some way of handing the weights of one to the other.

    Every cell is evaluated on one number, in integers modulo 2^64, with an operation standing for x -> x (a + b x):
    none 0, skip x, pooling a fixed a and b; a convolution has its kernel's b and, in a, a weight of its own. All 720
    ways of dealing six weights to six edges are tried and their outputs folded into a sum, so it does not matter which
    edge carries which convolution; a convolution that the output does not depend on does not matter at all.
    """
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.integers(2**63, size=shape, dtype=np.uint64) * 2 + 1

    slope, curve = np.zeros((2, len(OPS)), dtype=np.uint64)
    slope[SKIP] = one = np.uint64(1)
    slope[POOL], slope[CONV1], slope[CONV3] = draw(3)
    curve[POOL], curve[CONV1], curve[CONV3] = draw(3)
    x, mixer = draw(2)
    weights = draw(len(EDGES))
    ops = codes.T
    weighted = (ops == CONV1) | (ops == CONV3)
    folded = np.zeros(len(codes), dtype=np.uint64)
    for dealt in itertools.permutations(weights):
        nodes = [np.full(len(codes), x), *np.zeros((3, len(codes)), dtype=np.uint64)]
        for edge, (source, target) in enumerate(EDGES):
            a = slope[ops[edge]] * np.where(weighted[edge], dealt[edge], one)
            nodes[target] = nodes[target] + nodes[source] * (a + curve[ops[edge]] * nodes[source])
        folded += (nodes[3] ^ (nodes[3] >> np.uint64(29))) * (nodes[3] + mixer)
    return folded


def test_mutants_change_one_edge() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        cell = SPACE.sample(rng)
        mutant = SPACE.mutate(cell, rng)
        assert sum(a != b for a, b in zip(cell.ops, mutant.ops, strict=True)) == 1


def test_image_sizes_that_do_not_halve_twice_are_refused() -> None:
    with pytest.raises(InputError, match="image size 30 cannot be halved 2 times"):
        NasBench201(image_size=30)
