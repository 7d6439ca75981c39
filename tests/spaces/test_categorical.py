"""Spaces out of a dictionary of choices: codes by hand, costs by hand, and what cannot be a space."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
import staged_space
import torch
from torch import Tensor, nn

from common.errors import InputError
from common.networks import build_network
from common.spaces import CategoricalSpace, Skeleton, categorical, make_space
from common.spaces.choices import ChoiceSpace

CHOICES = {"op": ["conv3", "conv5", "skip"], "width": [16, 32], "act": ["relu", "gelu", "silu", "tanh"]}
SPACE = CategoricalSpace.from_choices(CHOICES, "mine")
ARCH = SPACE.parse("op=skip,width=16,act=gelu")


def test_the_example_of_the_docstring() -> None:
    assert doctest.testmod(categorical) == (0, 3)


def test_an_architecture_is_a_dictionary_a_text_and_a_code() -> None:
    assert dict(ARCH) == {"op": "skip", "width": 16, "act": "gelu"}
    assert SPACE.format(ARCH) == "op=skip,width=16,act=gelu"
    assert SPACE.parse(" act = gelu, width = 16, op = skip ") == ARCH
    assert SPACE.to_codes([ARCH]).tolist() == [[2, 0, 1]]
    assert SPACE.from_code(np.array([2, 0, 1], dtype=np.uint8)) == ARCH
    assert SPACE.one_hot(SPACE.to_codes([ARCH])).tolist() == [[0, 0, 1, 1, 0, 0, 1, 0, 0]]
    assert (SPACE.size, SPACE.code_length, SPACE.choices, SPACE.title) == (24, 3, 4, "mine")
    with pytest.raises(KeyError):
        ARCH["depth"]


def test_neighbours_differ_at_one_position_and_the_space_is_all_combinations() -> None:
    near = {SPACE.format(arch) for arch in SPACE.neighbours(ARCH)}
    assert near == {
        "op=conv3,width=16,act=gelu",
        "op=conv5,width=16,act=gelu",
        "op=skip,width=32,act=gelu",
        "op=skip,width=16,act=relu",
        "op=skip,width=16,act=silu",
        "op=skip,width=16,act=tanh",
    }
    codes = SPACE.all_codes()
    assert codes.shape == (24, 3)
    assert codes[:5].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3], [0, 1, 0]]
    assert len({SPACE.from_code(code) for code in codes}) == 24
    rng = np.random.default_rng(0)
    assert {SPACE.sample(rng) for _ in range(500)} == {SPACE.from_code(code) for code in codes}


def test_choices_that_a_position_does_not_have_get_no_votes() -> None:
    votes = np.array([[0, 1, 2, 9], [-3, -2, 9, 9], [0, 0, 0, 1]], dtype=float)
    assert SPACE.format(SPACE.most_voted(votes)) == "op=skip,width=32,act=tanh"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("op=skip,width=16", r"mine: 'op=skip,width=16'; the form is op=conv3,width=16,act=relu"),
        ("op=skip,op=skip,width=16,act=gelu", "'op=skip' in"),
        ("op=skip,width,act=gelu", "'width' in"),
        ("op=skip,width=17,act=gelu", r"width is '17' in .*; known there: 16, 32"),
    ],
)
def test_what_is_no_architecture_is_said(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"not an architecture of mine: .*{message}|{message}"):
        SPACE.parse(text)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "nothing to choose"),
        ({"a": ["x"]}, "nothing to choose"),
        ({"a": ["x", "y"], "b": []}, "'b' needs 1 to 256 choices"),
        ({"a": ["x", "x"]}, "no two alike"),
        ({"a": [1, "1"]}, "no two alike"),
        ({"a": [1, 1.0]}, "no two alike"),
        ({"a": list(range(257))}, "needs 1 to 256 choices"),
        ({"a": ["x", "y=z"]}, "'y=z' of position 'a'"),
        ({"a": ["x", "y,z"]}, "'y,z' of position 'a'"),
        ({"a": ["x", ""]}, "'' of position 'a'"),
        ({" a": ["x", "y"]}, "' a' of position"),
    ],
)
def test_choices_that_make_no_space_are_refused(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CategoricalSpace.from_choices(choices, "mine")


# networks and costs --------------------------------------------------------------------------------------------------


def conv_net(arch: dict[str, Any]) -> nn.Module:
    """Without num_classes or image_size: it is what it is."""
    return nn.Sequential(nn.Conv2d(3, arch["width"], 3), nn.ReLU(), nn.Flatten(), nn.Linear(arch["width"] * 36, 10))


class Nosy(nn.Module):
    """Looks at values, so that it cannot run without them."""

    def __init__(self, arch: dict[str, Any], num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3, num_classes)
        assert float(self.linear.weight.detach().abs().sum()) > 0

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)))


def test_costs_are_counted_from_the_network() -> None:
    space = CategoricalSpace.from_choices({"width": [4, 8]}, "counted", conv_net, image_size=8)
    flops, params = space.total_costs(np.array([[0], [1], [0]], dtype=np.uint8))
    by_hand = [(27 * width * 36 + width * 36 * 10, 28 * width + width * 36 * 10 + 10) for width in (4, 8, 4)]
    assert [*zip(flops.tolist(), params.tolist(), strict=True)] == by_hand
    assert (flops.dtype, params.dtype) == (np.int64, np.int64)
    assert [len(part) for part in space.total_costs(np.zeros((0, 1), dtype=np.uint8))] == [0, 0]


def test_counting_moves_no_random_state_and_also_takes_networks_that_look_at_values() -> None:
    space = CategoricalSpace.from_choices({"a": [1, 2]}, "nosy", Nosy, num_classes=5)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    flops, params = space.total_costs(np.array([[1]], dtype=np.uint8))
    assert (flops.tolist(), params.tolist()) == ([15], [20])
    staged_space.SPACE.total_costs(np.array([[0, 0, 0, 0, 0]], dtype=np.uint8))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_given_costs_are_taken_and_missing_ones_said() -> None:
    space = CategoricalSpace.from_choices({"a": ["x", "y"]}, "given", costs=lambda arch: (7, ord(arch["a"])))
    flops, params = space.total_costs(np.array([[1], [0]], dtype=np.uint8))
    assert (flops.tolist(), params.tolist()) == ([7, 7], [ord("y"), ord("x")])
    with pytest.raises(InputError, match="mine: costs are not known: give the space costs= or build="):
        SPACE.total_costs(np.array([[0, 0, 0]], dtype=np.uint8))
    with pytest.raises(InputError, match="mine: has no networks: give the space build="):
        build_network(SPACE, ARCH)


def test_the_network_is_told_the_classes_where_it_asks_and_its_taps_are_the_spaces() -> None:
    space = staged_space.SPACE.for_search(Skeleton(num_classes=3, image_size=8))
    network = build_network(space, space.parse("width=4,stage1=conv3,stage2=skip,stage3=skip,act=gelu"))
    logits, taps = network.forward_taps(torch.randn(2, 3, 8, 8))
    assert logits.shape == (2, 3)
    assert [tuple(tap.shape) for tap in taps] == [(2, 4, 8, 8), (2, 4, 4, 4), (2, 4, 2, 2)]
    untapped = CategoricalSpace.from_choices({"width": [4, 8]}, "untapped", conv_net)
    assert isinstance(untapped.build(untapped.parse("width=8")), nn.Sequential)
    with pytest.raises(InputError, match="Sequential does not say where its features are"):
        build_network(untapped, untapped.parse("width=8"))


# by import path ------------------------------------------------------------------------------------------------------


def factory(num_classes: int = 10) -> CategoricalSpace:
    return CategoricalSpace.from_choices(CHOICES, "made", num_classes=num_classes)


def test_a_space_is_found_by_import_path_as_a_value_a_class_or_a_function() -> None:
    here = __name__
    assert make_space(f"{here}:SPACE") is SPACE
    assert make_space(f"{here}:SPACE", num_classes=3).num_classes == 3  # type: ignore[attr-defined]
    assert make_space(f"{here}:factory", num_classes=3).num_classes == 3  # type: ignore[attr-defined]
    assert make_space("common.spaces.macro:Macro").name == "macro"
    with pytest.raises(InputError, match=r"has no field 'depth'; it has: .*num_classes"):
        make_space(f"{here}:SPACE", depth=3)
    for name in ("ARCH", "conv_net.__name__", "dict"):
        with pytest.raises(InputError):
            make_space(f"{here}:{name}")
    with pytest.raises(InputError, match=r"'staged_space:OPS': is a list, not a SearchSpace"):
        make_space("staged_space:OPS")


class Half(ChoiceSpace[tuple[int, ...]]):
    """No dataclass, and not every combination is an architecture."""

    name, title, code_length, size, choices = "half", "Half", 3, 13, 3

    def choices_of(self, arch: tuple[int, ...]) -> tuple[int, ...]:
        return arch

    def with_choices(self, choices: Any) -> tuple[int, ...]:
        return tuple(choices)

    def fault(self, choices: Any) -> str:
        return "odd" if sum(choices) % 2 else ""

    def parse(self, text: str) -> tuple[int, ...]:
        return tuple(map(int, text))

    def format(self, arch: tuple[int, ...]) -> str:
        return "".join(map(str, arch))

    def canonical_key(self, arch: tuple[int, ...]) -> str:
        return self.format(arch)

    def total_costs(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return codes.sum(1), codes.sum(1)


def test_a_space_without_fields_is_taken_as_it_is_and_a_fault_is_no_neighbour() -> None:
    space = make_space(f"{__name__}:Half")
    assert space.for_search(Skeleton(3, 16)) is space
    assert {space.format(arch) for arch in space.neighbours((1, 1, 0))} == {"112"}
    with pytest.raises(InputError, match="search space 'half' has no networks: give it a method build"):
        build_network(space, (1, 1, 0))
