"""NAS-Bench-Macro: the published numbers, isomorphic chains, and layers priced by hand."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from common.spaces.macro import Macro, MacroArch, layer_plan

SPACE = Macro()


def code(text: str) -> np.ndarray:
    return SPACE.to_codes([SPACE.parse(text)])


@pytest.mark.shared
def test_costs_of_all_6561_networks_equal_the_benchmarks(shared_data: Path) -> None:
    published = json.loads((shared_data / "nasbench_macro" / "nas-bench-macro_cifar10.json").read_text())
    assert len(published) == SPACE.size == 6561
    flops, params = SPACE.total_costs(SPACE.to_codes([*map(SPACE.parse, published)]))
    np.testing.assert_array_equal(flops, [entry["flops"] for entry in published.values()])
    np.testing.assert_array_equal(params, [entry["params"] for entry in published.values()])


@pytest.mark.shared
def test_the_benchmark_trained_one_network_of_every_canonical_class(shared_data: Path) -> None:
    published = json.loads((shared_data / "nasbench_macro" / "nas-bench-macro_cifar10.json").read_text())
    results: dict[str, set[str]] = {}
    for text, entry in published.items():
        results.setdefault(SPACE.canonical_key(SPACE.parse(text)), set()).add(json.dumps(entry))
    assert len(results) == 3969
    assert all(len(found) == 1 for found in results.values())
    assert len(set.union(*results.values())) == 3969


def test_chain_of_identities_is_priced_by_hand() -> None:
    # convolutions: stem, one strided 1x1 per stage, head; multiply-accumulates at sides 32, 16, 8, 4 and 4
    flops = 27 * 32 * 32**2 + 32 * 64 * 16**2 + 64 * 128 * 8**2 + 128 * 256 * 4**2 + 256 * 1280 * 4**2 + 1280 * 10
    weights = 27 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 256 * 1280
    params = weights + 2 * (32 + 64 + 128 + 256 + 1280) + 1280 * 10 + 10
    assert [int(total[0]) for total in SPACE.total_costs(code("00000000"))] == [flops, params] == [7713280, 387882]


@pytest.mark.parametrize(
    ("text", "vertex", "flops", "params"),
    [
        # 64 -> 192 -> 64 channels at side 16, kernel 3
        ("01000000", 2, (2 * 64 * 192 + 9 * 192) * 16**2, 2 * 64 * 192 + 9 * 192 + 2 * (192 + 192 + 64)),
        # 64 -> 384 channels at side 16, then kernel 5 with stride 2 and 384 -> 128 at side 8
        (
            "00200000",
            3,
            64 * 384 * 16**2 + (25 * 384 + 384 * 128) * 8**2,
            64 * 384 + 25 * 384 + 384 * 128 + 2 * (384 + 384 + 128),
        ),
        ("00000000", 3, 64 * 128 * 8**2, 64 * 128 + 2 * 128),  # the shape changes: a strided 1x1 convolution
        ("00000000", 4, 0, 0),  # the shape stays: nothing
    ],
)
def test_a_layer_is_priced_at_its_vertex(text: str, vertex: int, flops: int, params: int) -> None:
    cell = SPACE.costs(code(text))
    assert (cell.flops[0, 0, vertex], cell.params[0, 0, vertex]) == (flops, params)
    assert not cell.flops[0, 0, [0, -1]].any()


def test_the_first_layer_of_a_stage_doubles_the_channels_and_halves_the_side() -> None:
    shapes = [(layer.width_in, layer.width, layer.stride) for layer in layer_plan(32)]
    assert shapes == [
        (32, 64, 2), (64, 64, 1),
        (64, 128, 2), (128, 128, 1), (128, 128, 1),
        (128, 256, 2), (256, 256, 1), (256, 256, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("00000000", "00000000"),
        ("12102021", "12120021"),  # inside the second stage the 0 moves behind the 2
        ("00001001", "00010010"),  # in both
        ("01001002", "01010020"),
        ("10020020", "10020020"),  # only the first layer of a stage changes the shape, so it stays
        ("02012100", "02012100"),
    ],
)
def test_identities_that_keep_the_shape_may_stand_anywhere_in_their_stage(text: str, key: str) -> None:
    assert SPACE.canonical_key(SPACE.parse(text)) == key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("10000000", "01000000"),  # a strided block and a block behind a strided 1x1 convolution
        ("00112000", "00121000"),  # order of blocks
        ("01000000", "00010000"),  # other stages
        ("00100000", "00010000"),
    ],
)
def test_networks_that_differ_have_different_keys(one: str, other: str) -> None:
    assert SPACE.canonical_key(SPACE.parse(one)) != SPACE.canonical_key(SPACE.parse(other))


def test_whole_space_is_every_digit_string_once() -> None:
    codes = SPACE.all_codes()
    texts = [SPACE.format(SPACE.from_code(row)) for row in codes]
    assert texts == ["".join(digits) for digits in itertools.product("012", repeat=8)]
    assert len({SPACE.canonical_key(SPACE.from_code(row)) for row in codes}) == 3969


def test_one_hot_has_a_column_per_layer_and_block() -> None:
    hot = SPACE.one_hot(code("02012100"))
    assert hot.shape == (1, 24)
    np.testing.assert_array_equal(np.flatnonzero(hot[0]), [0, 5, 6, 10, 14, 16, 18, 21])


def test_the_graph_is_a_chain() -> None:
    codes = code("02012100")
    types = SPACE.types(codes)
    np.testing.assert_array_equal(types, [[1, 2, 4, 2, 3, 4, 3, 2, 2, 5]])
    np.testing.assert_array_equal(SPACE.edge_matrices(codes, types[:, None])[0, 0], np.diag(types[0, 1:], k=1))


@pytest.mark.parametrize("text", ["0201210", "020121000", "02012103", "0201 210", "-2012100", "0２012100"])  # noqa: RUF001
def test_text_that_is_not_eight_digits_is_refused_by_name(text: str) -> None:
    with pytest.raises(InputError, match="need 8 digits 0, 1 or 2, got '"):
        SPACE.parse(text)


@pytest.mark.parametrize("blocks", [(0,) * 7, (0,) * 9, (0,) * 7 + (3,), (0,) * 7 + (-1,)])
def test_values_check_themselves(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="need 8 block indices"):
        MacroArch(blocks)
